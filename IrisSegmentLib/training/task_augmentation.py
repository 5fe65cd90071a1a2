"""One change for all views of an episode: another contrast, another pose (task augmentation, UniverSeg, 2023).

Of a heart as every training scan shows it, a network knows where its ventricle is without asking the reference. Upside
down and with its grays exchanged, in the reference as in the targets, it is anatomy never seen before, with masks that
someone drew: only the reference says what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

KNOTS = (4, 10)  # of a curve of grays, fewest and most


class TaskAugmentation:
    """
    :param contrast, pose: how likely each is, drawn for itself.

    Example::

        change = TaskAugmentation(np.random.default_rng(0), 0.25, 0.25)
        images = change.of_grays(images, inside)                    # views (1, D, H, W) and where they show the scan
        images, masks = change.of_pose(images), change.of_pose(masks)   # (B, C, D, H, W), all of them turned alike
    """

    def __init__(self, random: np.random.Generator, contrast: float, pose: float) -> None:
        self._knots = _knots(random) if random.random() < contrast else None
        self._axes, self._flipped = [0, 1, 2], [False] * 3
        if random.random() < pose:
            self._axes = random.permutation(3).tolist()
            self._flipped = (random.random(3) < 0.5).tolist()

    def of_grays(self, images: Sequence[Tensor], inside: Sequence[Tensor]) -> list[Tensor]:
        """The same curve of grays for all views, z-scored together as scans are; outside of a scan is its lowest.

        :param inside: (D, H, W) bool per view, the cells that lie in the scan.
        """
        if self._knots is None:
            return list(images)
        shown = torch.cat([image[0, where] for image, where in zip(images, inside, strict=True)])
        if not len(shown):
            return list(images)
        low, high = shown.amin(), shown.amax()
        curves = [_along(image, low, high, self._knots) for image in images]
        scans = [curve[0, where] for curve, where in zip(curves, inside, strict=True)]
        every = torch.cat(scans)
        mean, spread = every.mean(), every.std().clamp_min(1e-3)
        lowest = [scan.amin() if len(scan) else curve.amin() for curve, scan in zip(curves, scans, strict=True)]
        return [
            (torch.where(where, curve, around) - mean) / spread
            for curve, where, around in zip(curves, inside, lowest, strict=True)
        ]

    def of_pose(self, views: Tensor) -> Tensor:
        """(B, C, D, H, W) with axes exchanged and flipped."""
        turned = views.permute(0, 1, *(2 + axis for axis in self._axes))
        return turned.flip([2 + n for n, flip in enumerate(self._flipped) if flip]).contiguous()


def _knots(random: np.random.Generator) -> Tensor:
    """A curve of grays, piecewise linear: rising and falling half of the time together, else up and down."""
    knots = random.uniform(0, 1, int(random.integers(KNOTS[0], KNOTS[1] + 1))).astype(np.float32)
    way = random.random()
    if way >= 0.5:
        knots.sort()
    if way >= 0.75:
        knots = knots[::-1].copy()
    return torch.from_numpy(knots)


def _along(values: Tensor, low: Tensor, high: Tensor, knots: Tensor) -> Tensor:
    """Values from ``low`` to ``high`` on the curve through ``knots``."""
    last = len(knots) - 1
    place = ((values - low) / (high - low).clamp_min(1e-6)).clamp(0, 1) * last
    index = place.floor().clamp(0, last - 1).long()
    return knots[index] + (place - index) * (knots[index + 1] - knots[index])
