"""The one door: encode a reference, segment targets; in this process, or in a worker that may die at any moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .progress import Cancelled, Progress
from .result import Result

if TYPE_CHECKING:
    from .engine import Engine
    from .strategies import STRATEGIES

__all__ = ["STRATEGIES", "Cancelled", "Engine", "Progress", "Result"]


def __getattr__(name: str) -> Any:
    """What computes needs torch, which is slow to import: who only asks a worker does not wait for it."""
    if name == "Engine":
        from .engine import Engine

        return Engine
    if name == "STRATEGIES":
        from .strategies import STRATEGIES

        return STRATEGIES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
