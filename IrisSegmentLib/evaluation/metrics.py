"""Agreement of a segmentation with a manual one, on the target's own voxels.

- Dice: of volumes, without unit.
- Surface Dice: the share of both surfaces, by area, that lies within a tolerance of the other surface (Nikolov et al.,
  2018; called NSD). Surfaces are cut through the voxels by marching cubes, so that flat voxels weigh what they show.
- 95 % Hausdorff distance in mm: the larger of the two directed 95th percentiles, between centers of border voxels.

Empty masks: when both are empty they agree (Dice 1, surface Dice 1, distance 0). When only one is, they do not (Dice 0,
surface Dice 0), and since no distance exists the longest that the scan allows stands in: its diagonal. A structure that
was missed therefore counts, and a report says beside how many were.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import IrisError

TOLERANCE_MM = 2.0
METRICS = ("dice", "surface_dice", "hd95_mm")

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


def dice(found: Mask, truth: Mask) -> float:
    """2 |A and B| / (|A| + |B|), 0..1; two empty masks agree."""
    total = int(found.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2.0 * int((found & truth).sum()) / total


def surface_dice(found: Mask, truth: Mask, spacing: Spacing, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Share of the surfaces of two masks (I, J, K) that lies within ``tolerance_mm`` of the other, 0..1.

    :param spacing: voxel size along I, J, K in mm.
    """
    from monai.metrics.surface_dice import compute_surface_dice

    if not (found.any() and truth.any()):
        return float(found.any() == truth.any())
    a, b = _cropped(found, truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # monai warns of an argument that only monai itself passes
        return float(
            compute_surface_dice(a, b, [tolerance_mm], include_background=True, spacing=spacing, use_subvoxels=True)
        )


def hd95(found: Mask, truth: Mask, spacing: Spacing) -> float:
    """95 % Hausdorff distance of two masks (I, J, K) in mm; the grid's diagonal when just one of them is empty.

    :param spacing: voxel size along I, J, K in mm.
    """
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    if not (found.any() and truth.any()):
        diagonal = float(np.linalg.norm(np.array(found.shape) * spacing))
        return 0.0 if found.any() == truth.any() else diagonal
    a, b = _cropped(found, truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return float(compute_hausdorff_distance(a, b, include_background=True, percentile=95, spacing=spacing))


def scores(found: Mask, truth: Mask, spacing: Spacing, tolerance_mm: float = TOLERANCE_MM) -> dict[str, float]:
    """All of `METRICS`, by name."""
    return {
        "dice": dice(found, truth),
        "surface_dice": surface_dice(found, truth, spacing, tolerance_mm),
        "hd95_mm": hd95(found, truth, spacing),
    }


def check_installed() -> None:
    """:raises IrisError: when what measures surfaces is missing; asked before hours are spent."""
    if importlib.util.find_spec("scipy") is None:
        raise IrisError("Surfaces are measured with scipy, which is missing; get it with: pip install scipy.")


def _cropped(found: Mask, truth: Mask) -> tuple[Tensor, Tensor]:
    """Both masks in the box that holds them, with a rim of one voxel: (1, 1, I, J, K). What touches the border of the
    scan ends there, and has a surface there."""
    both, box = found | truth, []
    for axis in range(3):
        filled = np.flatnonzero(both.any(tuple(n for n in range(3) if n != axis)))
        box.append(slice(filled[0], filled[-1] + 1))
    a, b = (torch.from_numpy(np.pad(m[tuple(box)], 1))[None, None] for m in (found, truth))
    return a, b
