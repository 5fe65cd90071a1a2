"""Of what the network answered: where it is in doubt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..imaging.window import Window
from .doubt import Doubt
from .looks import Seen

REACH = 2  # cells around a place that count with it: the rim of every segment is in doubt, wide doubt is what matters


def doubt_of(looks: Sequence[Seen], over: Window, affine: NDArray[np.float64]) -> Doubt:
    """
    :param looks: of the target, each of the next few segments.
    :param over: the window whose cells the map is of; affine: the target's.
    """
    places, doubts = [], []
    for window, logits in looks:
        to_ras, inside = cells_to_ras(window, affine), _inside(window)
        for doubt in _doubt(logits):
            around = _around(doubt)
            cell = np.unravel_index(int(around.where(inside, -1.0).argmax()), around.shape)
            places.append(tuple((to_ras @ [*cell, 1])[:3].tolist()))
        doubts.append(_doubt(window.seen_from(over, logits.float())).amax(0))
    values = (255 * torch.stack(doubts).amax(0)).round().to(torch.uint8).numpy()
    return Doubt(values, cells_to_ras(over, affine), tuple(places))


def _doubt(logits: Tensor) -> Tensor:
    return 1 - (2 * logits.float().sigmoid() - 1).abs()


def _around(values: Tensor) -> Tensor:
    """(D, H, W), the mean over each cell's surroundings within the grid; one axis after the other, as torch's own
    pooling does not."""
    for _ in range(3):
        places = torch.arange(len(values))
        near = ((places[:, None] - places).abs() <= REACH).to(values.dtype)
        values = torch.tensordot(values, near / near.sum(1, keepdim=True), ([0], [1]))  # the next axis comes first
    return values


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
