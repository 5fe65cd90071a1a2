"""Regions that no label names, the same in different patients: the tissue of one gray around one place.

The labels of a case say more than where they are. Half of their box further to the left is the same place in every
heart, whatever lies there. What a person might mark there is another thing in every episode, so that nothing but the
reference says what is asked, as it is with anatomy that no training set shows: a network that saw labels alone comes to
know these, and finds them where something else was marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .cases import Case

TOLD = ("hippocampus", "cardiac_mr", "left_atrium", "head_neck_ct")  # sets whose labels tell where a place is
AROUND = 0.4  # how far from the labels' box a region may be, as a share of that box
SMALLEST, LARGEST = 0.08, 0.45  # radius, as a share of the box
LEAST = 60  # voxels of a region
LIGHTER = 0.3  # than what is outside of the scan: no one marks air
MOST_UNLIKE = 4.0  # times as large a region may be in one case as in another, measured by their boxes


class Region:
    """One region, to be found in all cases of an episode.

    Example::

        masks = Region(np.random.default_rng(0)).of(cases, labels=[1, 2, 3])   # (X, Y, Z) bool per case, or None
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._center = random.uniform(-AROUND, 1 + AROUND, 3)  # 0 and 1 are the box's sides
        self._radius = np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST))) * random.uniform(0.7, 1.4, 3)
        self._tolerance = random.uniform(0.3, 0.8)  # of the gray, in standard deviations of what is around

    def of(self, cases: Sequence[Case], labels: Sequence[int]) -> list[Tensor] | None:
        """
        :param cases: with images, all of them with ``labels``; the first says which tissue is asked for.
        :return: None where the region is outside of a scan, is of air, is next to nothing, or is much larger in one
            case than in another and so hardly the same.
        """
        masks: list[Tensor] = []
        shares: list[float] = []
        gray = spread = torch.tensor(0.0)
        for case in cases:
            low = np.min([case.boxes[k][0] for k in labels], axis=0)
            size = np.max([case.boxes[k][1] for k in labels], axis=0) - low
            center, radius = low + self._center * size, np.maximum(1.5, self._radius * size)
            if np.any(center < 0) or np.any(center > np.array(case.labels.shape) - 1):
                return None
            where, near = _ellipsoid(center, radius, case.labels.shape)
            assert case.image is not None
            smooth = F.avg_pool3d(
                case.image[where].float()[None, None], 3, stride=1, padding=1, count_include_pad=False
            )[0, 0]
            if not masks:
                gray = smooth[tuple(int(c) - w.start for c, w in zip(np.round(center), where, strict=True))]
                spread = smooth.std()
                if gray < case.background + LIGHTER:
                    return None
            mask = torch.zeros(case.labels.shape, dtype=torch.bool)
            mask[where] = near & ((smooth - gray).abs() < self._tolerance * spread)
            if int(mask.sum()) < LEAST:
                return None
            masks.append(mask)
            shares.append(int(mask.sum()) / float(size.prod()))
        return masks if max(shares) < MOST_UNLIKE * min(shares) else None


def alike(cases: Sequence[Case], count: int, random: np.random.Generator, tries: int) -> list[list[Tensor]]:
    """Up to ``count`` regions beside the labels that all cases have, each as its masks (X, Y, Z) in the cases.

    :param tries: after so many that are none it is left at those that were found.
    """
    labels = sorted(set.intersection(*(set(c.boxes) for c in cases)))
    drawn = (Region(random).of(cases, labels) for _ in range(tries if labels else 0))
    return list(islice((masks for masks in drawn if masks is not None), count))


def _ellipsoid(
    center: np.ndarray, radius: np.ndarray, shape: Sequence[int]
) -> tuple[tuple[slice, slice, slice], Tensor]:
    """The part of a grid around an ellipsoid, in voxels, and which of its voxels are inside (bool)."""
    begin = np.maximum(0, np.floor(center - radius)).astype(int)
    end = np.minimum(np.array(shape), np.ceil(center + radius) + 1).astype(int)
    x, y, z = ((torch.arange(b, e) - c) / r for b, e, c, r in zip(begin, end, center, radius, strict=True))
    inside = x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None] ** 2 < 1
    return tuple(slice(int(b), int(e)) for b, e in zip(begin, end, strict=True)), inside  # type: ignore[return-value]
