"""A box in a scan, in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Box:
    """A box in mm from the center of a scan's first canonical voxel, along R, A, S."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    @property
    def extent(self) -> tuple[float, float, float]:
        """Size in mm."""
        return tuple(h - n for n, h in zip(self.low, self.high, strict=True))  # type: ignore[return-value]

    @property
    def center(self) -> tuple[float, float, float]:
        """In mm."""
        return tuple((n + h) / 2 for n, h in zip(self.low, self.high, strict=True))  # type: ignore[return-value]

    def distance(self, other: Box) -> float:
        """Between the centers, in mm."""
        return float(np.linalg.norm(np.subtract(self.center, other.center)))

    def widened(self, margin: float) -> Box:
        """This box about its own center, ``margin`` times as wide."""
        center = (np.array(self.low) + np.array(self.high)) / 2
        half = (np.array(self.high) - np.array(self.low)) / 2 * margin
        return Box(tuple((center - half).tolist()), tuple((center + half).tolist()))

    def at_least(self, extent: tuple[float, float, float]) -> Box:
        """This box about its own center, no smaller than ``extent`` along any axis."""
        center = (np.array(self.low) + np.array(self.high)) / 2
        half = np.maximum(self.extent, extent) / 2
        return Box(tuple((center - half).tolist()), tuple((center + half).tolist()))
