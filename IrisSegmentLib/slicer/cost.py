"""What learning from a reference will take on this computer, said before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import qt
from slicer.i18n import tr as _

from . import settings

# Of the bundled network on one core of a server of 2023; every reference shows how this computer compares.
LOOK_SECONDS, MEGAVOXEL_SECONDS = 0.07, 0.1
START_SECONDS = 4.0  # until the background process is there
BASE_MB, BYTES_PER_VOXEL = 900, 16  # what the network and its looks take, and what a scan takes beside that


@dataclass(frozen=True)
class Cost:
    """
    :param seconds: of waiting; memory_mb: of the background process at its peak.

    Example::

        Cost.of(voxels=2_000_000, classes=3, started=True).words   # "About 1 s and 0.9 GB of memory."
    """

    seconds: float
    memory_mb: float

    @classmethod
    def of(cls, voxels: int, classes: int, started: bool) -> Cost:
        """
        :param voxels: of the reference; classes: segments to learn.
        :param started: whether the background process is there already.
        """
        seconds = _work(voxels, classes) * _pace() + (0.0 if started else START_SECONDS)
        return cls(seconds, BASE_MB + BYTES_PER_VOXEL * voxels / 2**20)

    @property
    def words(self) -> str:
        words, count = _("About {count} s and {size} GB of memory."), max(1, round(self.seconds))
        if self.seconds >= 90:
            words, count = _("About {count} min and {size} GB of memory."), round(self.seconds / 60)
        return words.format(count=count, size=f"{self.memory_mb / 1024:.1f}")


def watched(voxels: int, classes: int, started: bool) -> Callable[[], None]:
    """Start the clock; what is returned is called when the reference was learned, for better words the next time."""
    began = time.monotonic()

    def learned() -> None:
        if started:  # else it is not known what of it was starting
            pace = (time.monotonic() - began) / _work(voxels, classes)
            qt.QSettings().setValue(_key(), str(pace))

    return learned


def _work(voxels: int, classes: int) -> float:
    """Seconds at pace 1: two looks at all, and one at each where there are several; and all of them once more, to see
    how much of the segments is found again."""
    looks = 2 + (classes if classes > 1 else 0)
    return 2 * (LOOK_SECONDS * looks + MEGAVOXEL_SECONDS * voxels / 1e6)


def _pace() -> float:
    """How many times as long this computer takes, with the network and device that are chosen."""
    return float(qt.QSettings().value(_key(), "1"))


def _key() -> str:
    network = settings.network()
    return f"{settings.GROUP}pace/{settings.device()}/{network.name if network else 'bundled'}"
