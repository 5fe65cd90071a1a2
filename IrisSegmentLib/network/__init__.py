"""The Iris network: encoder, task encoder, mask decoder, and their configurations."""

from .config import CONFIGS, NetworkConfig
from .iris import Iris, TaskEmbeddings, build
from .precision import Precision
from .weights import bundled_weights, load_network, save_network

__all__ = [
    "CONFIGS",
    "Iris",
    "NetworkConfig",
    "Precision",
    "TaskEmbeddings",
    "build",
    "bundled_weights",
    "load_network",
    "save_network",
]
