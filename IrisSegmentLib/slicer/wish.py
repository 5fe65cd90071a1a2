"""What a person wishes of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import slicer

from .existing import ExistingSegmentation

OF_A_FILE = ("object-retrieval", "image-retrieval", "memory-bank")  # strategies that take references from a file


@dataclass(frozen=True)
class Wish:
    """How targets are segmented, and where the results go.

    :param strategy: as for `Engine.choose`.
    :param source: a file, the pool or memory bank that a strategy takes its references from, or None.
    :param region: outside of which nothing is looked at or written, or None.
    :param destination: a segmentation to add to, or None for one of its own beside each volume.
    :param onlyEmpty: of the destination, fill empty segments and add none.
    """

    strategy: str = "ensemble"
    source: Path | None = None
    region: slicer.vtkMRMLMarkupsROINode | None = None
    destination: ExistingSegmentation | None = None
    onlyEmpty: bool = False

    @property
    def lacksSource(self) -> bool:
        """Whether the strategy wants a file that was not chosen."""
        return self.strategy in OF_A_FILE and self.source is None
