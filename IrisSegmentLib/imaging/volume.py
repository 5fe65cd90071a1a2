"""A scan and its segmentation as plain values: the array, where it lies in the patient, and its name travel together.

Arrays are in index order (I, J, K), the order of nibabel and TorchIO; SimpleITK and Slicer give (K, J, I), and are
transposed at the door. An affine maps an index (i, j, k, 1) to millimetres in RAS (right, anterior, superior).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import IrisError

# What moves a terminal's cursor, hides what follows, or is half a character and cannot be printed.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(words: str) -> str:
    """Words of a file as they can be shown anywhere: what no person writes into a name becomes a space."""
    return _UNPRINTABLE.sub(" ", words)
VoxelBox = tuple[slice, slice, slice]  # along I, J, K
COUNTED = 2**20  # voxels that are counted at once


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Voxel size along I, J, K in mm: the lengths of the affine's columns."""
    return tuple(float(s) for s in np.linalg.norm(affine[:3, :3], axis=0))  # type: ignore[return-value]


def checked_affine(affine: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """The affine as float64 (4, 4).

    :raises IrisError: when it is not finite, has an axis of no length, or its axes are sheared by more than a
        tenth of a degree per axis pair (a tilted gantry): the grid of such a scan is not a box.
    """
    affine = np.array(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise IrisError(f"'{name}' has no usable position in space: its header holds no numbers; get it again.")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if (lengths < 1e-6).any():
        raise IrisError(f"'{name}' has a voxel size of zero; correct its spacing and try again.")
    axes = affine[:3, :3] / lengths
    shear = np.abs(axes.T @ axes - np.eye(3)).max()
    if shear > 2e-3:
        raise IrisError(f"The axes of '{name}' are not at right angles; resample it to a straight grid first.")
    return affine


@dataclass(frozen=True)
class Volume:
    """A scan.

    :param array: (I, J, K), any real number type.
    :param affine: (4, 4), index to RAS in mm.
    :param name: what a person calls it.

    Example::

        volume = read_volume("scan.nii.gz")
        volume.shape, volume.spacing     # ((35, 51, 35), (1.0, 1.0, 1.0))
    """

    array: NDArray
    affine: NDArray[np.float64]
    name: str = "volume"

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or 0 in self.array.shape:
            raise IrisError(
                f"'{self.name}' is not a single 3D scan: its shape is {tuple(self.array.shape)}; "
                "choose one frame or one channel of it."
            )
        object.__setattr__(self, "affine", checked_affine(self.affine, self.name))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.array.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along I, J, K in mm."""
        return spacing_of(self.affine)


@dataclass(frozen=True)
class Segment:
    """One class of a segmentation: its words, its color, and where its voxels are kept.

    :param color: red, green, blue in 0..1.
    :param terminology: Slicer's serialised terminology entry, or empty.
    :param layer, label: the voxels are those where ``layers[layer] == label``.
    """

    name: str
    color: tuple[float, float, float]
    terminology: str = ""
    layer: int = 0
    label: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", plain(self.name).replace("\n", " "))
        object.__setattr__(self, "terminology", plain(self.terminology))


@dataclass(frozen=True)
class Segmentation:
    """Segments over a grid. Segments that overlap lie in different layers, as in a ``.seg.nrrd`` file.

    :param layers: (L, I, J, K), unsigned integers.
    :param affine: (4, 4), index to RAS in mm.
    """

    layers: NDArray
    affine: NDArray[np.float64]
    segments: tuple[Segment, ...]
    name: str = "segmentation"

    def __post_init__(self) -> None:
        if self.layers.ndim != 4:
            raise IrisError(f"The segmentation '{self.name}' is not a 3D segmentation; choose another.")
        object.__setattr__(self, "affine", checked_affine(self.affine, self.name))
        object.__setattr__(self, "segments", tuple(self.segments))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.layers.shape[1:]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along I, J, K in mm."""
        return spacing_of(self.affine)

    def mask(self, index: int) -> NDArray[np.bool_]:
        """The voxels (I, J, K) of one segment."""
        segment = self.segments[index]
        return self.layers[segment.layer] == segment.label

    @cached_property
    def boxes(self) -> tuple[VoxelBox, ...]:
        """Per segment the smallest box of indices that holds its voxels; an empty one holds none. Takes a while on a
        large scan, once."""
        found: dict[tuple[int, int], VoxelBox] = {}
        for number, layer in enumerate(self.layers):
            labels = [s.label for s in self.segments if s.layer == number]
            found |= {(number, label): box for label, box in zip(labels, boxes_of(layer, labels), strict=True)}
        return tuple(found[s.layer, s.label] for s in self.segments)

    def only(self, indices: Iterable[int]) -> Segmentation:
        """The same voxels, with only the segments named by their place in ``segments``."""
        indices = tuple(indices)
        fewer = replace(self, segments=tuple(self.segments[i] for i in indices))
        if "boxes" in self.__dict__:  # they are known and need not be searched again
            fewer.__dict__["boxes"] = tuple(self.boxes[i] for i in indices)
        return fewer

    def volumes_ml(self) -> tuple[float, ...]:
        """Volume of each segment in mL."""
        voxel_ml = abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0
        counts = [label_counts(layer) for layer in self.layers]
        return tuple(
            float(counts[s.layer][s.label]) * voxel_ml if s.label < len(counts[s.layer]) else 0.0
            for s in self.segments
        )


def label_counts(layer: NDArray) -> NDArray[np.int64]:
    """Voxels by label, from 0 to the largest of (I, J, K); in parts, for numpy takes eight bytes for each."""
    voxels = layer.ravel(order="K")  # as they lie in memory: no copy is made
    counts = np.zeros(int(voxels.max(initial=0)) + 1, np.int64)
    for start in range(0, len(voxels), COUNTED):
        part = voxels[start : start + COUNTED]
        if part.any():
            counts += np.bincount(part, minlength=len(counts))
        else:  # most of a scan is background, which is seen faster than it is counted
            counts[0] += len(part)
    return counts


def box_of(mask: NDArray[np.bool_]) -> VoxelBox:
    """The smallest box that holds all that is true in (I, J, K); empty when nothing is."""
    box = [slice(0, 0)] * 3
    for axis in range(3):
        # Each axis is searched in what the ones before have left.
        found = np.flatnonzero(mask.any(tuple(other for other in range(3) if other != axis)))
        if not len(found):
            return (slice(0, 0),) * 3
        box[axis] = slice(int(found[0]), int(found[-1]) + 1)
        mask = mask[(slice(None),) * axis + (box[axis],)]
    return (box[0], box[1], box[2])


def boxes_of(layer: NDArray, labels: Sequence[int]) -> list[VoxelBox]:
    """Per label the smallest box that holds its voxels in three axes; an empty one holds none. Plane by plane, in the
    order of memory: one walk through a large scan, in steps so short that other threads are not kept waiting. Labels
    are looked for only where there are any."""
    axis = int(np.argmax(np.abs(layer.strides)))
    bounds: list[list[list[int]]] = [[] for _label in labels]
    for number, plane in enumerate(np.moveaxis(layer, axis, 0)):
        around = _plane_bounds(np.ones(plane.shape, bool) if 0 in labels else plane != 0)
        if around is None:
            continue
        top, bottom, left, right = around
        part = plane[top : bottom + 1, left : right + 1]
        for found, label in zip(bounds, labels, strict=True):
            box = _plane_bounds(part == label)
            if box is not None:
                found.append([number, box[0] + top, box[1] + top, box[2] + left, box[3] + left])
    return [_box_from(np.array(found), axis) if found else (slice(0, 0),) * 3 for found in bounds]


def _plane_bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """First and last row and column of what is true; None when nothing is."""
    if not mask.any():
        return None
    rows = np.flatnonzero(mask.any(1))
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def _box_from(planes: NDArray[np.int64], axis: int) -> VoxelBox:
    """:param planes: (N, 5), the number of a plane along ``axis``, and the bounds of what is in it."""
    low, high = planes.min(0), planes.max(0) + 1
    sides = [slice(int(low[1]), int(high[2])), slice(int(low[3]), int(high[4]))]
    sides.insert(axis, slice(int(low[0]), int(high[0])))
    return (sides[0], sides[1], sides[2])


def same_grid(a: Volume | Segmentation, b: Volume | Segmentation, tolerance_mm: float = 1e-2) -> bool:
    """Whether two images share their voxels: the same shape, corners apart by less than ``tolerance_mm``."""
    if a.shape != b.shape:
        return False
    corners = np.array([[i, j, k, 1] for i in (0, a.shape[0]) for j in (0, a.shape[1]) for k in (0, a.shape[2])])
    return bool(np.abs(corners @ (a.affine - b.affine).T).max() < tolerance_mm)
