"""The metrics against slow and simple forms of themselves, and against geometry that is known in closed form."""

import numpy as np
import pytest
import torch
from monai.metrics.utils import get_code_to_measure_table

from IrisSegmentLib.evaluation.metrics import dice, hd95, scores, surface_dice

SPACING = (0.9, 1.4, 3.1)


def blobs(seed, shape=(12, 10, 7)):
    """Two random masks that overlap in part; the first touches the border of the grid."""
    random = np.random.default_rng(seed)
    a, b = np.zeros(shape, bool), np.zeros(shape, bool)
    a[:6, 2:8, 1:5] = random.random((6, 6, 4)) > 0.2
    b[2:9, 3:9, 2:6] = random.random((7, 6, 4)) > 0.2
    return a, b


def border_voxels(mask):
    """Voxels of a mask of which one of the six neighbors is not in it; beyond the grid is nothing."""
    padded = np.pad(mask, 1)
    inside = [np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for step in (-1, 1)]
    return np.argwhere(mask & ~np.all(inside, 0)) * SPACING


def directed(a, b):
    """From every point of a, the distance to the nearest of b: all pairs."""
    return np.linalg.norm(a[:, None] - b[None], axis=-1).min(1)


@pytest.mark.parametrize("seed", range(4))
def test_hd95_is_what_all_pairs_of_border_voxels_give(seed):
    a, b = blobs(seed)
    first, second = border_voxels(a), border_voxels(b)
    slow = max(np.percentile(directed(first, second), 95), np.percentile(directed(second, first), 95))
    assert hd95(a, b, SPACING) == pytest.approx(slow, rel=1e-5) and slow > 1


def surface_elements(mask):
    """Corners between voxels where the eight around them differ, in mm, and the area of surface within each."""
    padded = np.pad(mask, 1)
    table, kernel = get_code_to_measure_table(SPACING)
    corners, areas = [], []
    for i, j, k in np.ndindex(*(n - 1 for n in padded.shape)):
        around = padded[i : i + 2, j : j + 2, k : k + 2]
        if around.any() and not around.all():
            corners.append((i, j, k))
            areas.append(float(table[int((torch.from_numpy(around.copy()) * kernel[0, 0]).sum())]))
    return np.array(corners) * SPACING, np.array(areas)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0])
def test_surface_dice_is_what_all_pairs_of_surface_elements_give(seed, tolerance):
    a, b = blobs(seed)
    (first, area1), (second, area2) = surface_elements(a), surface_elements(b)
    near = area1[directed(first, second) <= tolerance].sum() + area2[directed(second, first) <= tolerance].sum()
    slow = near / (area1.sum() + area2.sum())
    assert surface_dice(a, b, SPACING, tolerance) == pytest.approx(slow, rel=1e-4) and 0 < slow < 1


def ball(center, radius, spacing, shape):
    places = [np.arange(n) * s for n, s in zip(shape, spacing, strict=True)]
    axes = np.meshgrid(*places, indexing="ij")
    return sum((x - c) ** 2 for x, c in zip(axes, center, strict=True)) <= radius**2


@pytest.mark.parametrize("axis", range(3))
def test_shifted_balls(axis):
    """Of two balls of radius r, d apart, the point of one at polar angle t lies | |r n - d| - r | from the other's
    surface, and cos t is uniform over a sphere's area. A surface of voxels is known to about a voxel."""
    spacing, shape, r, d, tolerance = (0.6, 0.8, 1.0), (120, 90, 72), 24.0, 12.0, 5.0
    center = np.array([28.0, 28.0, 28.0])
    moved = center.copy()
    moved[axis] += d
    cos = np.linspace(-1, 1, 100_001)
    away = np.abs(np.sqrt(r**2 + d**2 - 2 * r * d * cos) - r)
    a, b = ball(center, r, spacing, shape), ball(moved, r, spacing, shape)
    share = surface_dice(a, b, spacing, tolerance)
    assert np.mean(away <= tolerance) - 0.01 < share < np.mean(away <= tolerance + max(spacing))
    assert hd95(a, b, spacing) == pytest.approx(np.percentile(away, 95), abs=max(spacing))


def test_surface_is_weighed_by_its_area_and_not_by_its_voxels():
    """A box and the same box made longer along thick slices: what is shared is known from the areas of the faces."""
    spacing, wide, short, long = (0.5, 0.5, 4.0), 40, 10, 20
    a, b = np.zeros((60, 60, 30), bool), np.zeros((60, 60, 30), bool)
    a[10 : 10 + wide, 10 : 10 + wide, 5 : 5 + short] = True
    b[10 : 10 + wide, 10 : 10 + wide, 5 : 5 + long] = True
    lid, side1, side2 = (wide * 0.5) ** 2, 4 * wide * 0.5 * short * 4.0, 4 * wide * 0.5 * long * 4.0
    expected = (2 * lid + 2 * side1) / (4 * lid + side1 + side2)
    assert surface_dice(a, b, spacing, 0.1) == pytest.approx(expected, abs=0.02)  # counted by voxels: 0.57


def test_dice_of_known_masks():
    a, b = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert dice(a, b) == 1.0
    a[0], b[0, 0] = True, True
    assert dice(a, b) == pytest.approx(2 * 2 / (4 + 2)) and dice(a, ~a) == 0.0


def test_empty_masks_are_what_the_words_say():
    empty, some = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    some[1, 2, 3] = True
    assert scores(empty, empty, SPACING) == {"dice": 1.0, "surface_dice": 1.0, "hd95_mm": 0.0}
    diagonal = np.linalg.norm(np.array([4, 5, 6]) * SPACING)
    for a, b in ((empty, some), (some, empty)):
        assert scores(a, b, SPACING) == {"dice": 0.0, "surface_dice": 0.0, "hd95_mm": pytest.approx(diagonal)}
    assert scores(some, some, SPACING) == {"dice": 1.0, "surface_dice": 1.0, "hd95_mm": 0.0}


def test_where_the_masks_lie_in_the_scan_changes_nothing():
    a, b = blobs(7)
    large = [np.zeros((40, 50, 30), bool) for _ in range(2)]
    large[0][20:32, 33:43, 11:18], large[1][20:32, 33:43, 11:18] = a, b
    assert scores(*large, SPACING) == pytest.approx(scores(a, b, SPACING))
