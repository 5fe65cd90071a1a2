"""An RTSTRUCT as a segmentation: its contours filled on the slices of its scan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import IrisError
from ..volume import Segment, Segmentation, Volume
from .grid import LPS_RAS
from .headers import damaged, library, quiet, text
from .layers import Layers

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")  # points and open lines enclose nothing
FLAT = 0.1  # share of the distance between slices that a contour may lie off its slice
ON_IT = 1e-6  # voxels from a contour to a center that lies on it: what is lost when numbers are written as text
Contours = list[NDArray[np.float64]]


def read_structures(path: Path, name: str, image: Volume | None, default: Any) -> Segmentation:
    """Each region with closed contours is a segment. A voxel belongs to it when its center lies within an odd number of
    its contours in that slice, or on one.

    :param image: the scan that the contours were drawn on.
    :param default: gives the color of the n-th region, when it has none.
    :raises IrisError: when the file is damaged, there is no scan, or contours do not lie on its slices.
    """
    if image is None:
        raise IrisError(f"'{name}' holds contours; give the scan that they were drawn on with it.")
    pydicom = library("pydicom")
    try:
        with quiet():
            regions = list(_regions(pydicom.dcmread(path)))
    except Exception as error:  # of a stranger's bytes pydicom raises whatever they led it to
        raise damaged(path) from error
    to_index = np.linalg.inv(image.affine) @ LPS_RAS
    layers, segments = Layers(image.shape, len(regions)), []
    for n, (region, color, contours) in enumerate(regions):
        indices = [points @ to_index[:3, :3].T + to_index[:3, 3] for points in contours]
        mask = filled(indices, image.shape, f"The contours of '{region}' in '{name}'", image.name)
        segments.append(Segment(region, color or default(n), "", layers.add(mask, n + 1), n + 1))
    return Segmentation(layers.array(), image.affine, tuple(segments), name)


def _regions(data: Any) -> Iterator[tuple[str, tuple[float, float, float] | None, Contours]]:
    """Name, color and closed contours (points, 3), LPS in mm, of each region that has any."""
    names = {int(roi.ROINumber): text(roi.get("ROIName")) for roi in data.StructureSetROISequence}
    for item in data.get("ROIContourSequence") or ():
        number = int(item.ReferencedROINumber)
        contours = [
            _points(contour)
            for contour in item.get("ContourSequence") or ()
            if str(contour.get("ContourGeometricType") or CLOSED[0]) in CLOSED
        ]
        if not all(np.isfinite(points).all() for points in contours):
            raise ValueError("a contour is not a number")
        shown = item.get("ROIDisplayColor")
        color = None
        if shown:
            red, green, blue = (min(max(int(c), 0), 255) / 255 for c in shown)
            color = red, green, blue
        if contours:
            yield names.get(number) or f"Segment_{number}", color, contours


def _points(contour: Any) -> NDArray[np.float64]:
    """(points, 3). Their text is taken as it stands in the file: pydicom would make an object of each number."""
    stored = contour.get_item("ContourData").value
    numbers = stored.decode("ascii").split("\\") if isinstance(stored, bytes) else stored
    return np.array(numbers, np.float64).reshape(-1, 3)


def filled(contours: Contours, shape: tuple[int, int, int], what: str, scan: str) -> NDArray[np.bool_]:
    """Contours in voxel indices (points, 3) as a mask of that shape.

    :param what: the contours, in words; ``scan`` the scan.
    :raises IrisError: when one lies between slices or beyond the scan, or they do not lie on slices at all.
    """
    along = int(min(range(3), key=lambda axis: max(np.ptp(points[:, axis]) for points in contours)))
    others = [axis for axis in range(3) if axis != along]
    inside = np.zeros((shape[along], *(shape[axis] for axis in others)), bool)
    on = np.zeros_like(inside)
    for points in contours:
        height = float(np.median(points[:, along]))
        if max(np.abs(points[:, along] - height).max(), abs(height - round(height))) > FLAT:
            raise IrisError(f"{what} do not lie on the slices of '{scan}'; give the scan that they were drawn on.")
        k = round(height)
        if not 0 <= k < len(inside):
            raise IrisError(f"{what} reach beyond '{scan}'; give the scan that they were drawn on.")
        _fill(points[:, others], inside[k], on[k])
    return np.moveaxis(inside | on, 0, along)


def _fill(points: NDArray[np.float64], inside: NDArray[np.bool_], on: NDArray[np.bool_]) -> None:
    """Turn over each center (whole numbers) of a plane that lies within a polygon (points, 2), by the parity of edges
    crossed on the way along the second axis; and mark those that lie on an edge."""
    points = np.where(np.abs(points - np.rint(points)) <= ON_IT, np.rint(points), points)
    start = np.floor(points.min(0)).clip(0, inside.shape).astype(int)
    stop = (np.ceil(points.max(0)).clip(-1, np.array(inside.shape) - 1) + 1).astype(int)
    box = (slice(start[0], stop[0]), slice(start[1], stop[1]))
    inside, on, points = inside[box], on[box], points - start  # all that happens does so around the polygon
    rows, columns = inside.shape
    if not rows or not columns:
        return
    (a, b), (c, d) = points.T, np.roll(points, -1, 0).T
    low, high = np.minimum(a, c), np.maximum(a, c)
    # Each row that an edge meets, unless the edge runs along it.
    first = np.ceil(low).clip(0, rows).astype(int)
    count = np.where(a == c, 0, np.floor(high).clip(-1, rows - 1).astype(int) - first + 1).clip(0)
    edge = np.repeat(np.arange(len(points)), count)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    place = b[edge] + (d - b)[edge] * (row - a[edge]) / (c - a)[edge]
    once = row < high[edge]  # half open, so that a corner on a row counts once
    beyond = np.zeros((rows, columns + 1), int)
    np.add.at(beyond, (row[once], np.ceil(place[once]).clip(0, columns).astype(int)), 1)
    inside ^= np.cumsum(beyond[:, :0:-1], axis=1)[:, ::-1] % 2 == 1

    exact = (np.abs(place - np.rint(place)) <= ON_IT) & (place > -0.5) & (place < columns - 0.5)
    on[row[exact], np.rint(place[exact]).astype(int)] = True
    for n in np.flatnonzero((a == c) & (a == np.rint(a)) & (a >= 0) & (a < rows)):
        left, right = sorted((b[n], d[n]))
        on[int(a[n]), max(int(np.ceil(left - ON_IT)), 0) : max(int(np.floor(right + ON_IT)) + 1, 0)] = True
