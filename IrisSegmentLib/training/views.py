"""One view of a case: a randomly placed, turned and bent window, and masks seen through it; one resampling each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..imaging.window import MULTIPLE, SMALLEST


@dataclass(frozen=True)
class Placement:
    """Where a view looks: center and step in mm along X, Y, Z of the case."""

    center: np.ndarray
    extent: np.ndarray


def grid_shape(extents: list[np.ndarray], cells: int) -> tuple[tuple[int, int, int], list[float]]:
    """A grid that holds every view of a batch, each with its own step (mm): its longest side takes ``cells`` cells."""
    steps = [float(e.max()) / cells for e in extents]
    need = np.max([e / s for e, s in zip(extents, steps, strict=True)], axis=0)
    largest = MULTIPLE * math.ceil(cells / MULTIPLE)
    shape = [min(largest, max(SMALLEST, MULTIPLE * math.ceil(n / MULTIPLE - 0.05))) for n in need]
    return tuple(shape), steps


def sampling_grid(
    placement: Placement, step: float, shape: tuple[int, int, int], size: np.ndarray, spacing: np.ndarray,
    random: np.random.Generator | None,
) -> Tensor:
    """Where each cell of a view lies, for `grid_sample`: (1, D, H, W, 3) in -1..1 of a case of ``size`` voxels.

    With ``random``: turned by up to 15 degrees about each axis, scaled by up to 10 % along each, and, half the time,
    bent by a coarse random field of up to 4 cells.
    """
    axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * step for n in shape]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    if random is not None:
        turn = torch.from_numpy(rotation(random.uniform(-1, 1, 3) * math.radians(15)) * random.uniform(0.9, 1.1, 3))
        place = place @ turn.float().T
        if random.random() < 0.5:
            bend = torch.from_numpy(random.normal(0, 1.3 * step, (1, 3, 5, 5, 5)).astype(np.float32))
            place = place + F.interpolate(bend, size=shape, mode="trilinear", align_corners=True)[0].permute(1, 2, 3, 0)
    voxels = (place + torch.from_numpy(placement.center).float()) / torch.from_numpy(spacing).float()
    # Voxel centers at 0..n-1; grid_sample without aligned corners counts from -1 at the first voxel's edge.
    scaled = (voxels + 0.5) * 2 / torch.from_numpy(size.astype(np.float32)) - 1
    return scaled.flip(-1)[None]


def sample(values: Tensor, grid: Tensor, step: float, spacing: np.ndarray) -> Tensor:
    """Values (C, X, Y, Z) at the grid, zero outside: (C, D, H, W). A step much wider than a voxel averages first."""
    factor = [min(n, max(1, int(step / s + 0.3))) for s, n in zip(spacing, values.shape[1:], strict=True)]
    if max(factor) > 1:
        # Pad to whole blocks, so that the grid's relative places hold; the rim it adds is re-scaled below.
        pad = [(-n) % f for n, f in zip(values.shape[1:], factor, strict=True)]
        padded = F.pad(values[None], (0, pad[2], 0, pad[1], 0, pad[0]))
        ratio = torch.tensor([n / p for n, p in zip(values.shape[1:], padded.shape[2:], strict=True)]).flip(0)
        values = F.avg_pool3d(padded, factor)[0]
        grid = (grid + 1) * ratio - 1
    return F.grid_sample(values[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def sample_nearest(values: Tensor, grid: Tensor) -> Tensor:
    """Labels (X, Y, Z) at the grid by nearest neighbor: (D, H, W)."""
    return F.grid_sample(values[None, None].float(), grid, mode="nearest", align_corners=False)[0, 0]


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix from three angles in radians about X, Y, Z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    return (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )
