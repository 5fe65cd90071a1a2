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
            np.array(contour.ContourData, np.float64).reshape(-1, 3)
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


def filled(contours: Contours, shape: tuple[int, int, int], what: str, scan: str) -> NDArray[np.bool_]:
    """Contours in voxel indices (points, 3) as a mask of that shape.

    :param what: the contours, in words; ``scan`` the scan.
    :raises IrisError: when one lies between slices or beyond the scan, or they do not lie on slices at all.
    """
    along = int(min(range(3), key=lambda axis: max(np.ptp(points[:, axis]) for points in contours)))
    others = [axis for axis in range(3) if axis != along]
    mask = np.zeros(shape, bool)
    slices = np.moveaxis(mask, along, 0)
    inside: dict[int, NDArray[np.bool_]] = {}
    on: dict[int, NDArray[np.bool_]] = {}
    for points in contours:
        height = float(np.median(points[:, along]))
        if max(np.abs(points[:, along] - height).max(), abs(height - round(height))) > FLAT:
            raise IrisError(f"{what} do not lie on the slices of '{scan}'; give the scan that they were drawn on.")
        k = round(height)
        if not 0 <= k < len(slices):
            raise IrisError(f"{what} reach beyond '{scan}'; give the scan that they were drawn on.")
        within, touched = _inside(points[:, others], slices.shape[1:])
        inside[k] = inside[k] ^ within if k in inside else within
        on[k] = on[k] | touched if k in on else touched
    for k in inside:
        slices[k] = inside[k] | on[k]
    return mask


def _inside(points: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which centers (whole numbers) of a plane lie within a polygon (points, 2), by the parity of edges crossed on the
    way along the second axis; and which lie on an edge."""
    rows, columns = shape
    points = np.where(np.abs(points - np.rint(points)) <= ON_IT, np.rint(points), points)
    (a, b), (c, d) = points.T, np.roll(points, -1, 0).T
    low, high, level = np.minimum(a, c), np.maximum(a, c), a == c
    row = np.arange(rows)[:, None]

    def crossings(where: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
        at, edge = np.nonzero(where & ~level)
        return at, b[edge] + (d - b)[edge] * (at - a[edge]) / (c - a)[edge]

    at, place = crossings((low <= row) & (row < high))  # half open, so that a corner on the row counts once
    beyond = np.zeros((rows, columns + 1), int)
    np.add.at(beyond, (at, np.ceil(place).clip(0, columns).astype(int)), 1)
    within = np.cumsum(beyond[:, :0:-1], axis=1)[:, ::-1] % 2 == 1

    touched = np.zeros(shape, bool)
    at, place = crossings((low <= row) & (row <= high))
    exact = (np.abs(place - np.rint(place)) <= ON_IT) & (place > -0.5) & (place < columns - 0.5)
    touched[at[exact], np.rint(place[exact]).astype(int)] = True
    for edge in np.flatnonzero(level & (a == np.rint(a)) & (a >= 0) & (a < rows)):
        start, end = sorted((b[edge], d[edge]))
        touched[round(a[edge]), max(int(np.ceil(start - ON_IT)), 0) : max(int(np.floor(end + ON_IT)) + 1, 0)] = True
    return within, touched
