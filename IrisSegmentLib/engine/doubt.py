"""Where an answer is in doubt: a small map of it, and per segment the place to look at first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Doubt:
    """
    :param values: (D, H, W) uint8 at the cells of the look at all segments: 0 certain, 255 a probability of a half.
    :param affine: (4, 4), a cell's index to RAS in mm, in the target's own coordinates.
    :param places: per segment, where there is most of it: RAS in mm.
    """

    values: NDArray[np.uint8]
    affine: NDArray[np.float64]
    places: tuple[tuple[float, float, float], ...]
