"""What comes of segmenting a target."""

from __future__ import annotations

from dataclasses import dataclass

from ..imaging.volume import Segmentation
from .doubt import Doubt


@dataclass(frozen=True)
class Result:
    """
    :param segmentation: on the target's own voxels, one layer, with the preset's names, colors and terminology.
    :param confidence: per segment, the Dice to expect, 0..1 (`Trust.expected`); 0 when none was found.
    :param volumes_ml: per segment.
    :param seconds: of computing.
    :param doubt: where it is uncertain; None where that was not looked at.
    :param likeness: how much what was found looks like what was marked, as a cosine; None where that is not known.
    """

    segmentation: Segmentation
    confidence: tuple[float, ...]
    volumes_ml: tuple[float, ...]
    seconds: float
    doubt: Doubt | None = None
    likeness: float | None = None
