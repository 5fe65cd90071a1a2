"""From a scanner's numbers to the network's: a clip and a z-score, fixed for CT and read off the scan otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CT_AIR = -900.0  # Hounsfield: only CT goes below this
SAMPLE = 2_000_000  # voxels that percentiles are read from; more change nothing and cost seconds


@dataclass(frozen=True)
class Intensity:
    """``(clip(x, low, high) - mean) / deviation``."""

    low: float
    high: float
    mean: float
    deviation: float
    modality: str

    @classmethod
    def of(cls, canonical: NDArray) -> Intensity:
        """Read it off a scan (R, A, S). CT is known by air at -1000 HU and keeps its absolute scale, whatever part of
        the body was scanned; other scans are clipped to percentiles 0.5 and 99.5 and z-scored."""
        step = max(1, round((canonical.size / SAMPLE) ** (1 / 3)))
        values = np.asarray(canonical[::step, ::step, ::step], dtype=np.float32).ravel()
        values = values[np.isfinite(values)]
        if values.size == 0:
            return cls(0.0, 0.0, 0.0, 1.0, "empty")
        if values.min() <= CT_AIR:
            return cls(-1000.0, 600.0, -200.0, 400.0, "CT")
        low, high = (float(p) for p in np.percentile(values, (0.5, 99.5)))
        clipped = values.clip(low, high)
        return cls(low, high, float(clipped.mean()), max(float(clipped.std()), 1e-6), "MR or PET")

    def apply(self, values: NDArray) -> NDArray[np.float32]:
        """The network's numbers; what is not a number counts as the scan's lowest."""
        values = np.nan_to_num(np.asarray(values, dtype=np.float32), nan=self.low, posinf=self.high, neginf=self.low)
        return ((values.clip(self.low, self.high) - self.mean) / self.deviation).astype(np.float32)

    @property
    def background(self) -> float:
        """What lies outside the scan, in the network's numbers: its lowest value."""
        return (self.low - self.mean) / self.deviation
