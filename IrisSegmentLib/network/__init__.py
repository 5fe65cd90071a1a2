"""The Iris network: encoder, task encoder, mask decoder, and their configurations."""

from .config import CONFIGS, NetworkConfig
from .iris import Iris, TaskEmbeddings, build
from .weights import bundled_weights, load_network, save_network

__all__ = [
    "CONFIGS",
    "Iris",
    "NetworkConfig",
    "TaskEmbeddings",
    "build",
    "bundled_weights",
    "load_network",
    "save_network",
]
