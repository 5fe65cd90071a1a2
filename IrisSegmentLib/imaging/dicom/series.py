"""A series of slices as one scan: its voxels by GDCM, whatever their compression, on a straight grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ...errors import IrisError
from ..volume import Volume
from .choice import chosen
from .grid import Affine, Shape, grid_of, straightened
from .headers import Slice, check_types, damaged

TYPES = (np.int16, np.int32, np.float32)
LARGEST = 16 * 2**30  # bytes of a scan's voxels


@dataclass(frozen=True)
class Series:
    """One volume of a series.

    :param slices: from slice to slice.
    :param affine: index to RAS in mm, (4, 4), as the slices lie: sheared when the gantry was tilted.
    """

    name: str
    slices: list[Slice]
    affine: Affine

    @classmethod
    def open(cls, path: Path | Sequence[Path], name: str) -> Series:
        """:raises IrisError: as `chosen` and `grid_of`."""
        slices = chosen(path, name)
        return cls(name, slices, grid_of(slices, name))

    @property
    def shape(self) -> Shape:
        return (*self.slices[0].size, len(self.slices))

    def volume(self) -> Volume:
        """:raises IrisError: when a file's voxels cannot be read, or are more than fit."""
        size = np.prod(self.shape, dtype=np.float64) * self.slices[0].bits / 8
        if size > LARGEST:
            raise IrisError(f"'{self.name}' claims {size / 2**30:,.0f} GB of voxels; crop it to the part that matters.")
        array, affine = straightened(_voxels(self.slices), self.affine, self.name)
        return Volume(array, affine, self.name)


def _voxels(slices: list[Slice]) -> NDArray:
    """(I, J, K), rescaled as each slice says, in the first of `TYPES` that holds all."""
    columns, rows = slices[0].size
    out = np.empty((len(slices), rows, columns), TYPES[0])
    read: tuple[Path, NDArray] | None = None
    for k, one in enumerate(slices):
        if read is None or read[0] != one.path:
            read = (one.path, _read(one))
        picture = read[1][one.frame or 0]
        if one.rescale != one.applied:
            stored = np.rint((picture.astype(np.float64) - one.applied[1]) / one.applied[0])
            picture = stored * one.rescale[0] + one.rescale[1]
            picture = np.rint(picture) if all(map(float.is_integer, one.rescale)) else picture
        wanted = max(TYPES.index(out.dtype.type), _type_of(picture))
        out = out.astype(TYPES[wanted], copy=False)
        out[k] = picture
    return out.transpose(2, 1, 0)


def _type_of(picture: NDArray) -> int:
    """The first of `TYPES` that holds a picture."""
    low, high = float(picture.min()), float(picture.max())
    whole = picture.dtype.kind in "iu"
    fits = (whole and -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1) for bits in (16, 32))
    return next((n for n, yes in enumerate(fits) if yes), 2)


def _read(one: Slice) -> NDArray:
    """All pictures (frames, J, I) of a slice's file, rescaled as its first frame says."""
    check_types(one.path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(one.path))
    try:
        pictures = sitk.GetArrayFromImage(reader.Execute())
    except (RuntimeError, MemoryError) as error:
        raise damaged(one.path) from error
    columns, rows = one.size
    if pictures.shape[1:] != (rows, columns) or len(pictures) <= (one.frame or 0):
        raise damaged(one.path)
    return pictures
