"""One view of a case: a randomly placed, turned and bent window, and masks seen through it; one resampling each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..imaging.window import MULTIPLE, SMALLEST
from .cases import Case


@dataclass(frozen=True)
class Placement:
    """Where a view looks: center and extent in mm along X, Y, Z of the case."""

    center: np.ndarray
    extent: np.ndarray


def placed(case: Case, box: tuple[np.ndarray, np.ndarray] | None, random: np.random.Generator) -> Placement:
    """A view of the whole case, or closer around a box of its voxels (low, high), as the engine looks: somewhat more or
    less of it, and somewhat beside."""
    if box is None:
        low, high, margin = np.zeros(3), np.array(case.labels.shape) * case.spacing, random.uniform(0.8, 1.1)
    else:
        low, high = (b * case.spacing for b in box)
        margin = random.uniform(1.1, 1.8)
    extent = np.maximum((high - low) * margin, 4 * case.spacing)
    # A first answer is often off by more than a tenth of the object: what it looked for must still be found.
    shift = random.uniform(-1, 1, 3) * (0.12 if box is None else 0.2) * extent
    return Placement((low + high) / 2 - case.spacing / 2 + shift, extent)


def grid_shape(extents: list[np.ndarray], cells: int) -> tuple[tuple[int, int, int], list[float]]:
    """A grid that holds every view of a batch, each with its own step (mm): its longest side takes ``cells`` cells."""
    steps = [float(e.max()) / cells for e in extents]
    need = np.max([e / s for e, s in zip(extents, steps, strict=True)], axis=0)
    largest = MULTIPLE * math.ceil(cells / MULTIPLE)
    shape = [min(largest, max(SMALLEST, MULTIPLE * math.ceil(n / MULTIPLE - 0.05))) for n in need]
    return tuple(shape), steps


def positions(
    placement: Placement, step: float, shape: tuple[int, int, int], spacing: np.ndarray,
    random: np.random.Generator | None,
) -> Tensor:
    """Where each cell of a view lies, in voxels of its case along X, Y, Z: (3, D, H, W).

    With ``random``: turned by up to 15 degrees about each axis, scaled by up to 10 % along each, and, half the time,
    bent by a coarse random field of up to 4 cells.
    """
    axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * step for n in shape]
    turn, bend = np.eye(3), None
    if random is not None:
        turn = rotation(random.uniform(-1, 1, 3) * math.radians(15)) * random.uniform(0.9, 1.1, 3)
        if random.random() < 0.5:
            knots = torch.from_numpy(random.normal(0, 1.3 * step, (1, 3, 5, 5, 5)).astype(np.float32))
            bend = F.interpolate(knots, size=shape, mode="trilinear", align_corners=True)[0]
    found = torch.empty(3, *shape)
    for n, per_mm in enumerate((1 / spacing).tolist()):
        across, along, deep = (axis * float(turn[n, k]) * per_mm for k, axis in enumerate(axes))
        first = across + float(placement.center[n]) * per_mm
        torch.add(first[:, None, None], along[:, None] + deep, out=found[n])
        if bend is not None:
            found[n].add_(bend[n], alpha=per_mm)
    return found


def within(where: Tensor, size: Sequence[int]) -> Tensor:
    """Which of the `positions` lie in a case of ``size`` voxels: (D, H, W) bool."""
    return torch.stack([(at > -0.5) & (at < n - 0.5) for at, n in zip(where, size, strict=True)]).all(0)


def resampled(case: Case, masks: Tensor, where: Tensor, step: float) -> tuple[Tensor | None, Tensor]:
    """A case at the `positions` of a view whose cells are ``step`` mm wide, image and masks by one resampling.

    A step much wider than a voxel averages first.

    :param masks: (K, X, Y, Z).
    :return: the image (1, D, H, W), None where the case has none, and how much of each cell the masks fill
        (K, D, H, W).
    """
    size = case.labels.shape
    factor = [min(n, max(1, int(step / s + 0.3))) for s, n in zip(case.spacing, size, strict=True)]
    # Only what the positions reach is read, in whole blocks of what is averaged and one more on either side.
    parts = []
    for at, n, f in zip(where, size, factor, strict=True):
        begin, end = (int(float(edge) // f) for edge in at.aminmax())
        begin = min(max(0, begin - 1), (n - 1) // f) * f
        parts.append(slice(begin, min(n, max(begin + f, (end + 3) * f))))
    near = masks[:, parts[0], parts[1], parts[2]].float()
    if case.image is not None:
        near = torch.cat([case.image[None, parts[0], parts[1], parts[2]].float() - case.background, near])
    if max(factor) > 1:
        # What a last block lacks counts as what is outside.
        near = F.avg_pool3d(near[None], factor, ceil_mode=True, divisor_override=math.prod(factor))[0]
    read = [n * f for n, f in zip(near.shape[1:], factor, strict=True)]
    grid = _grid(where, [p.start for p in parts], read)
    sampled = F.grid_sample(near[None], grid, align_corners=False)[0]
    return (None, sampled) if case.image is None else (sampled[:1] + case.background, sampled[1:])


def resampled_labels(labels: Tensor, where: Tensor) -> Tensor:
    """Labels (X, Y, Z) at the `positions` by nearest neighbor: (D, H, W)."""
    grid = _grid(where, [0] * 3, labels.shape)
    return F.grid_sample(labels[None, None].float(), grid, mode="nearest", align_corners=False)[0, 0]


def _grid(where: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """`positions` as `grid_sample` wants them, (1, D, H, W, 3) from Z to X, for the voxels from ``start`` on: -1 is the
    outer edge of the first and 1 that of the last."""
    grid = torch.empty(1, *where.shape[1:], 3)
    for n, at in enumerate(where):
        torch.mul(at, 2 / size[n], out=grid[0, ..., 2 - n]).add_((1 - 2 * start[n]) / size[n] - 1)
    return grid


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix from three angles in radians about X, Y, Z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    return (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )
