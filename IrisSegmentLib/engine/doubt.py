"""Where an answer is in doubt: a small map of it, and per segment the place to look at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # who only reads what is in doubt needs no torch
    from torch import Tensor

    from ..imaging.window import Window

REACH = 2  # cells around a place that count with it: the rim of every segment is in doubt, wide doubt is what matters


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

    @classmethod
    def of(cls, looks: Sequence[tuple[Window, Tensor]], over: Window, affine: NDArray[np.float64]) -> Doubt:
        """
        :param looks: windows over the target, each with the logits (K, D, H, W) of the next few segments.
        :param over: the window whose cells the map is of; affine: the target's.
        """
        import torch

        places, doubts = [], []
        for window, logits in looks:
            to_ras, inside = cells_to_ras(window, affine), _inside(window)
            for doubt in _doubt(logits):
                around = _around(doubt)
                cell = np.unravel_index(int(around.where(inside, -1.0).argmax()), around.shape)
                places.append(tuple((to_ras @ [*cell, 1])[:3].tolist()))
            doubts.append(_doubt(window.seen_from(over, logits.float())).amax(0))
        values = (255 * torch.stack(doubts).amax(0)).round().to(torch.uint8).numpy()
        return cls(values, cells_to_ras(over, affine), tuple(places))


def _doubt(logits: Tensor) -> Tensor:
    return 1 - (2 * logits.float().sigmoid() - 1).abs()


def _around(values: Tensor) -> Tensor:
    """(D, H, W), the mean over each cell's surroundings within the grid; one axis after the other, as torch's own
    pooling does not."""
    import torch

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
    import torch

    inside = torch.ones(window.shape, dtype=torch.bool)
    for axis in range(3):
        places = window.origin[axis] + window.step * np.arange(window.shape[axis])
        last = window.scan_spacing[axis] * (window.scan_shape[axis] - 0.5)
        within = (places > -window.scan_spacing[axis] / 2) & (places < last)
        inside &= torch.from_numpy(within).view([-1 if n == axis else 1 for n in range(3)])
    return inside
