"""From slices to a grid of voxels: even, or refused in words. A tilted gantry shears the grid; that is made straight.

An affine maps an index (i, j, k, 1) to RAS in mm: i along a row (column by column), j down the rows, k from slice to
slice. It is the slices' own, sheared where the gantry was tilted, unless it is called straight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import IrisError
from ..volume import spacing_of
from .headers import Slice

LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE = 0.01  # mm that slices in the same place may lie apart: what is lost when numbers are written as text
UNEVEN = 0.05  # share of the distance between slices that one may lie off its place
SHEAR = 2e-3  # that is not a tilt: as much as `checked_affine` lets pass
STEEPEST = 40.0  # degrees; no gantry tilts further than 30
OFF = 0.05  # share of a voxel that a grid may lie off another and still be the same
Affine = NDArray[np.float64]
Shape = tuple[int, int, int]


def directions(axes: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Along a row, down a column, and from slice to slice, LPS, each of length one."""
    row, column = np.asarray(axes[:3], np.float64), np.asarray(axes[3:], np.float64)
    row, column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    normal = np.cross(row, column)
    return row, column, normal / np.linalg.norm(normal)


def heights(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Of each slice along their common normal, in mm."""
    assert slices[0].axes is not None
    normal = directions(slices[0].axes)[2]
    return np.array([s.position for s in slices]) @ normal


def grid_of(slices: Sequence[Slice], name: str) -> Affine:
    """The affine (4, 4) of slices that are sorted by height, of one orientation and size.

    :raises IrisError: when some are missing, or they are not evenly spaced.
    """
    first = slices[0]
    assert first.axes is not None and first.spacing is not None
    row, column, normal = directions(first.axes)
    places = np.array([s.position for s in slices], np.float64)
    if len(slices) == 1:
        step = normal * (first.thickness or 1.0)
    else:
        up = np.diff(places @ normal)
        usual = float(np.median(up))
        gaps = np.flatnonzero(up > usual * (1 + UNEVEN))
        between = up[gaps] / usual - 1  # slices that had room
        missing = np.rint(between)
        whole = len(gaps) and missing.min() >= 1 and np.abs(between - missing).max() < 4 * UNEVEN
        if whole and up.min() > usual * (1 - UNEVEN):
            count = int(missing.sum())
            raise IrisError(
                f"'{name}' misses {count} slice{'s' * (count > 1)} (after slice {gaps[0] + 1} of {len(slices)}); get "
                "the whole series again."
            )
        step = (places[-1] - places[0]) / (len(slices) - 1)
        even = places[0] + np.arange(len(slices))[:, None] * step
        if np.linalg.norm(places - even, axis=1).max() > UNEVEN * usual:
            raise IrisError(
                f"The slices of '{name}' are not evenly spaced ({up.min():.2f} to {up.max():.2f} mm apart); give the "
                "files of a part that is, or resample it to an even grid first."
            )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * first.spacing[0], column * first.spacing[1], step
    affine[:3, 3] = places[0]
    return LPS_RAS @ affine


def tilt(affine: Affine) -> NDArray[np.float64] | None:
    """How far each slice is shifted against the one below, in voxels along i and j; None for a straight grid."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes[:, :2].T @ axes[:, 2]).max() <= SHEAR:
        return None
    lengths = np.linalg.norm(affine[:3, :2], axis=0)
    return axes[:, :2].T @ affine[:3, 2] / lengths


def straight_grid(affine: Affine, shape: Shape, name: str) -> tuple[Affine, Shape]:
    """The straight grid that holds all voxels of a tilted one: the same planes, as wide as the shifts need.

    :raises IrisError: for a tilt that no gantry has.
    """
    shift = tilt(affine)
    if shift is None:
        return affine, shape
    straight = affine.copy()
    straight[:3, 2] -= affine[:3, :2] @ shift
    angle = math.degrees(math.acos(min(1.0, spacing_of(straight)[2] / spacing_of(affine)[2])))
    if angle > STEEPEST:
        raise IrisError(f"The slices of '{name}' are shifted sideways by {angle:.0f} degrees; get the series again.")
    low, high = _reach(shift, shape[2])
    straight[:3, 3] += affine[:3, :2] @ low
    return straight, (shape[0] + high[0] - low[0], shape[1] + high[1] - low[1], shape[2])


def straightened(array: NDArray, affine: Affine, name: str) -> tuple[NDArray, Affine]:
    """A scan (I, J, K) on its straight grid: each slice shifted within its plane, linearly between voxels. What no
    slice covers gets the scan's least value.

    :raises IrisError: as `straight_grid`.
    """
    shift = tilt(affine)
    if shift is None:
        return array, affine
    columns, rows, count = array.shape
    straight, shape = straight_grid(affine, (columns, rows, count), name)
    low, _ = _reach(shift, count)
    least = array.min()
    out = np.full(shape[::-1], least, array.dtype).transpose(2, 1, 0)  # slice by slice in memory, as it was read
    for k in range(count):
        place = (k * shift - low).round(6)
        i, j = np.floor(place).astype(int)
        part = place - (i, j)
        moved = np.full(shape[:2], least, np.float64)
        moved[i : i + columns, j : j + rows] = array[:, :, k]
        if part[0]:
            moved[1:] = (1 - part[0]) * moved[1:] + part[0] * moved[:-1]
        if part[1]:
            moved[:, 1:] = (1 - part[1]) * moved[:, 1:] + part[1] * moved[:, :-1]
        out[:, :, k] = moved if array.dtype.kind == "f" else np.rint(moved)
    return out, straight


def _reach(shift: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How far the shifts of that many slices go below and above the first, in whole voxels along i and j."""
    ends = np.stack([shift * 0, shift * (count - 1)]).round(6)
    return np.floor(ends.min(0)).astype(int), np.ceil(ends.max(0)).astype(int)


def carried(layers: NDArray, affine: Affine, onto: Affine, shape: Shape) -> NDArray | None:
    """Labels (L, I, J, K) on another grid that has the same voxels (axes in any order and direction, and reaching
    further or less far), or the same planes shifted in themselves, as a tilted grid and its straight one. There each
    voxel gets its nearest, there and back the same. Outside is 0.

    :return: (L, \\*shape), or None when the grids do not share their voxels or planes.
    """
    across = np.linalg.inv(affine) @ onto
    matrix, offset = across[:3, :3], across[:3, 3]
    turned = np.rint(matrix).astype(int)
    along = int(np.abs(turned[2]).argmax())  # the axis of `onto` that goes from plane to plane
    turned[:2, along] = 0  # a tilt shifts i and j from plane to plane; all else is a voxel for a voxel
    if (np.abs(turned).sum(0) != 1).any() or (np.abs(turned).sum(1) != 1).any():
        return None
    drift = np.abs(matrix - turned) * shape
    off = np.abs(offset - np.rint(offset))
    if tilt(affine) is not None or tilt(onto) is not None:
        drift[:2, along] = off[:2] = 0
    if max(drift.max(), off.max()) > OFF:
        return None
    if (tilt(affine) is tilt(onto) is None) and layers.shape[1:] == shape and not np.rint(across - np.eye(4)).any():
        return layers
    i_axis, j_axis = (int(np.abs(row).argmax()) for row in turned[:2])
    # In memory plane by plane, whichever axis that is.
    memory = np.zeros((shape[along], len(layers), shape[j_axis], shape[i_axis]), layers.dtype)
    out = memory.transpose(1, *np.argsort([along, i_axis, j_axis]).choose([0, 3, 2]))
    planes = memory.transpose(1, 0, 3, 2)  # (L, planes, voxels along i, along j)
    for plane in range(shape[along]):
        k = turned[2, along] * plane + round(offset[2])
        if not 0 <= k < layers.shape[3]:
            continue
        places = []  # per axis of the plane: where in `onto`, and where in `layers`
        for axis, towards in ((0, i_axis), (1, j_axis)):
            start = round(round(float(matrix[axis, along] * plane + offset[axis]), 6))
            at = turned[axis, towards] * np.arange(shape[towards]) + start
            inside = np.flatnonzero((at >= 0) & (at < layers.shape[1 + axis]))
            places.append((inside, at[inside]))
        (to_i, from_i), (to_j, from_j) = places
        planes[:, plane, to_i[:, None], to_j] = layers[:, from_i[:, None], from_j, k]
    return out
