"""Where an answer is in doubt: a small map of it, and per segment the place to look at first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..imaging.window import Window

REACH = 2  # cells around a place that count with it: the rim of every segment is in doubt, wide doubt is what matters


@dataclass(frozen=True)
class Doubt:
    """
    :param values: (D, H, W) uint8 at the cells of the network's last look: 0 certain, 255 a probability of a half.
    :param affine: (4, 4), a cell's index to RAS in mm, in the target's own coordinates.
    :param places: per segment, where there is most of it: RAS in mm.
    """

    values: NDArray[np.uint8]
    affine: NDArray[np.float64]
    places: tuple[tuple[float, float, float], ...]

    @classmethod
    def of(cls, logits: Tensor, window: Window, affine: NDArray[np.float64]) -> Doubt:
        """
        :param logits: (K, D, H, W) at the cells of ``window``; affine: the target's.
        """
        per_class = 1 - (2 * logits.float().sigmoid() - 1).abs()
        to_ras = cells_to_ras(window, affine)
        inside = _inside(window)
        places = []
        for doubt in per_class:
            around = F.avg_pool3d(doubt[None, None], 2 * REACH + 1, 1, REACH, count_include_pad=False)[0, 0]
            cell = np.unravel_index(int(around.where(inside, -1.0).argmax()), around.shape)
            places.append(tuple((to_ras @ [*cell, 1])[:3].tolist()))
        values = (255 * per_class.amax(0)).round().to(torch.uint8).numpy()
        return cls(values, to_ras, tuple(places))


def cells_to_ras(window: Window, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4), index of a window's cell to RAS in mm, for a scan with this index-to-RAS affine."""
    to_stored = np.zeros((4, 4))
    to_stored[3, 3] = 1
    for axis, (stored, flipped) in enumerate(zip(window.orientation.order, window.orientation.flipped, strict=True)):
        voxels, start = window.step / window.scan_spacing[axis], window.origin[axis] / window.scan_spacing[axis]
        last = window.scan_shape[axis] - 1
        to_stored[stored, axis] = -voxels if flipped else voxels
        to_stored[stored, 3] = last - start if flipped else start
    return affine @ to_stored


def _inside(window: Window) -> Tensor:
    """(D, H, W), the cells whose centers lie in the scan: beyond it there is nothing to look at."""
    inside = torch.ones(window.shape, dtype=torch.bool)
    for axis in range(3):
        places = window.origin[axis] + window.step * np.arange(window.shape[axis])
        last = window.scan_spacing[axis] * (window.scan_shape[axis] - 0.5)
        within = (places > -window.scan_spacing[axis] / 2) & (places < last)
        inside &= torch.from_numpy(within).view([-1 if n == axis else 1 for n in range(3)])
    return inside
