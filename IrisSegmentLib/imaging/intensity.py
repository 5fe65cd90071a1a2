"""From a scanner's numbers to the network's: a clip and a z-score, fixed for CT and read off the scan otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CT_AIR = -900.0  # Hounsfield: only CT goes below this,
CT_LOWEST = -4096.0  # and what scanners put around a scan is not below that; MR stored as any int16 may be
SAMPLE = 2_000_000  # voxels that percentiles are read from; more change nothing and cost seconds


@dataclass(frozen=True)
class Intensity:
    """``(clip(x, low, high) - mean) / deviation``.

    :param outside: what lies outside the scan, in the network's numbers; None for the scan's lowest value.
    """

    low: float
    high: float
    mean: float
    deviation: float
    modality: str
    outside: float | None = None

    @classmethod
    def of(cls, canonical: NDArray) -> Intensity:
        """Read it off a scan (R, A, S). CT is known by air at -1000 HU and keeps its absolute scale, whatever part of
        the body was scanned; other scans are clipped to percentiles 0.5 and 99.5 and z-scored."""
        values = _sampled(canonical)
        if values.size == 0:
            return cls(0.0, 0.0, 0.0, 1.0, "empty")
        if _is_ct(values):
            return cls(-1000.0, 600.0, -200.0, 400.0, "CT")
        low, high = (float(p) for p in np.percentile(values, (0.5, 99.5)))
        return cls(low, high, *_z_score(values, low, high), "MR or PET")

    @classmethod
    def as_published(cls, canonical: NDArray) -> Intensity:
        """As the authors of the public network prepared its inputs: CT is clipped to -991 to 500 HU, other scans to
        percentiles 2 and 98, all are z-scored, and zeros lie around them."""
        values = _sampled(canonical)
        if values.size == 0:
            return cls(0.0, 0.0, 0.0, 1.0, "empty", 0.0)
        ct = _is_ct(values)
        low, high = (-991.0, 500.0) if ct else (float(p) for p in np.percentile(values, (2, 98)))
        return cls(low, high, *_z_score(values, low, high), "CT" if ct else "MR or PET", 0.0)

    def apply(self, values: NDArray) -> NDArray[np.float32]:
        """The network's numbers; what is not a number counts as the scan's lowest."""
        known = np.array(values, dtype=np.float32, order="C")  # a copy, which is then worked on where it lies
        if values.dtype.kind == "f":
            known[np.isnan(known)] = self.low
        np.clip(known, self.low, self.high, out=known)
        known -= np.float32(self.mean)
        known /= np.float32(self.deviation)
        return known

    @property
    def background(self) -> float:
        """What lies outside the scan, in the network's numbers."""
        return (self.low - self.mean) / self.deviation if self.outside is None else self.outside


def _sampled(canonical: NDArray) -> NDArray[np.float32]:
    """Finite values of a scan, at most about `SAMPLE` of them, evenly spread."""
    step = max(1, round((canonical.size / SAMPLE) ** (1 / 3)))
    values = np.asarray(canonical[::step, ::step, ::step], dtype=np.float32).ravel()
    return values[np.isfinite(values)]


def _is_ct(values: NDArray[np.float32]) -> bool:
    return bool(CT_LOWEST <= values.min() <= CT_AIR)


def _z_score(values: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """Mean and standard deviation of clipped values."""
    clipped = values.clip(low, high)
    return float(clipped.mean()), max(float(clipped.std()), 1e-6)
