"""The one door: encode a reference, segment targets; in this process, or in a worker that may die at any moment."""

from .engine import Engine, Result
from .progress import Cancelled, Progress
from .strategies import STRATEGIES

__all__ = ["STRATEGIES", "Cancelled", "Engine", "Progress", "Result"]
