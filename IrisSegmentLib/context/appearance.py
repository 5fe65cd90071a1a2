"""What a scan looks like, in a few numbers, and in words where a target differs from what a preset has seen.

Needs no network. None of these numbers lets an image be guessed: they are counted over all of its voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..imaging.intensity import Intensity
from ..imaging.orientation import Orientation
from ..imaging.volume import Volume

PERCENTILES = (0.5, 25, 50, 75, 99.5)
SAMPLE = 200_000  # voxels that they are read from: within milliseconds, for a panel asks
COARSER = 2.0  # how many times larger or smaller voxels have to be to be spoken of
SMALLER = 0.6  # share of the reference's size along an axis below which a part may be missing
APART = 1.5  # how far CT medians may lie apart, in widths of the middle half; other scans are scaled by themselves


@dataclass(frozen=True)
class Appearance:
    """
    :param spacing: voxel size in mm, size: of the scan in mm; along R, A, S.
    :param intensities: percentiles 0.5, 25, 50, 75 and 99.5 of the scanner's numbers.

    Example::

        Appearance.of(reference).differences(Appearance.of(target))
        # ["The target is CT, the references are MR or PET: the result will hardly be right."]
    """

    modality: str
    spacing: tuple[float, float, float]
    size: tuple[float, float, float]
    intensities: tuple[float, float, float, float, float]

    @classmethod
    def of(cls, image: Volume) -> Appearance:
        """Read it off a scan, in a few milliseconds whatever its size."""
        order = Orientation.of(image.affine).order
        spacing = tuple(image.spacing[n] for n in order)
        size = tuple(image.spacing[n] * image.shape[n] for n in order)
        step = max(1, round((image.array.size / SAMPLE) ** (1 / 3)))
        values = np.asarray(image.array[::step, ::step, ::step], dtype=np.float32)
        finite = values[np.isfinite(values)]
        found = np.percentile(finite, PERCENTILES) if finite.size else np.zeros(len(PERCENTILES))
        modality = Intensity.of(values).modality
        return cls(modality, spacing, size, tuple(found.tolist()))  # type: ignore[arg-type]

    def differences(self, target: Appearance) -> list[str]:
        """Why a target may be segmented poorly by what was learned from this scan: sentences, the worst first."""
        said = []
        if target.modality != self.modality:
            said.append(
                f"The target is {_named(target.modality)}, the references are {_named(self.modality)}: "
                "the result will hardly be right."
            )
        elif self.modality == "CT" and self._median_apart(target) > APART:
            said.append("Its intensities differ much from the references': another part of the body, or no CT numbers.")
        finer = max(self.spacing) / max(target.spacing)
        if not 1 / COARSER <= finer <= COARSER:
            kind, times = ("finer", finer) if finer > 1 else ("coarser", 1 / finer)
            said.append(f"Its voxels are {times:.1f} times {kind} than the references': small parts may be missed.")
        axes = [name for name, share in zip(AXES, self._shares(target), strict=True) if share < SMALLER]
        if axes:
            said.append(f"It shows less of the body than the references ({', '.join(axes)}): a part may be cut off.")
        return said

    def _shares(self, target: Appearance) -> list[float]:
        return [theirs / max(ours, 1e-6) for ours, theirs in zip(self.size, target.size, strict=True)]

    def _median_apart(self, target: Appearance) -> float:
        _, quarter, median, three_quarters, _ = self.intensities
        return abs(target.intensities[2] - median) / max(three_quarters - quarter, 100.0)

    def words(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "modality": self.modality,
            "spacing": list(self.spacing),
            "size": list(self.size),
            "intensities": list(self.intensities),
        }


AXES = ("from side to side", "from front to back", "from head to foot")


def differences(references: Sequence[Appearance], target: Appearance) -> list[str]:
    """As `Appearance.differences`, with the reference that the target resembles most; nothing where none is known."""
    return min((reference.differences(target) for reference in references), key=len, default=[])


def _named(modality: str) -> str:
    return modality or "of an unknown kind"
