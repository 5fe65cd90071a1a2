"""What comes of segmenting a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..imaging.volume import Segmentation
from .doubt import Doubt

if TYPE_CHECKING:
    from ..network.trust import Signs  # beside torch, which who only asks a worker does without

LEFT_EMPTY = "Left empty, since what was found looks too unlike what was marked; check that it is not there."


@dataclass(frozen=True)
class Result:
    """
    :param segmentation: on the target's own voxels, one layer, with the preset's names, colors and terminology.
    :param confidence: per segment, the Dice to expect, 0..1 (`Trust.expected`); 0 when none was found or it was left
        empty.
    :param volumes_ml: per segment.
    :param seconds: of computing.
    :param doubt: where it is uncertain, also of what was left empty; None where that was not looked at.
    :param signs: per segment, what the confidence was told from; none where that is not known.
    :param left_empty: per segment, whether something was found and left out (`LEFT_EMPTY`); none for no segment.
    """

    segmentation: Segmentation
    confidence: tuple[float, ...]
    volumes_ml: tuple[float, ...]
    seconds: float
    doubt: Doubt | None = None
    signs: tuple[Signs, ...] = ()
    left_empty: tuple[bool, ...] = ()

    def words(self, segment: int) -> str:
        """What a person should know of a segment beside its numbers: a sentence, mostly none."""
        return LEFT_EMPTY if self.left_empty and self.left_empty[segment] else ""
