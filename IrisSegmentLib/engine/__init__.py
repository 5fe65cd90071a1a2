"""The one door: encode a reference, segment targets; in this process, or in a worker that may die at any moment."""

from .engine import Engine, Result
from .progress import Cancelled, Progress

__all__ = ["Cancelled", "Engine", "Progress", "Result"]
