"""A region of interest: what lies outside of it is neither looked at nor written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import slicer
import vtk

from ..engine import Result
from ..errors import IrisError
from ..imaging.volume import Volume
from .bounds import boundsOf
from .nodes import affineOfNode

Index = tuple[int, ...]


@dataclass(frozen=True)
class Region:
    """The part of a volume's voxels that lies in a region.

    :param shape: of the volume, (I, J, K); low: the first voxel of the box around the region.
    :param high: the first beyond it; outside: whether what is meant lies outside of the region.
    :param matrix: from indices to mm along the region's axes from its center, (4, 4); size: of the region in mm.

    Example::

        region = Region.of(roiNode, volumeNode)
        result = region.pasted(engine.segment(region.cut(volume), preset), volume)
    """

    shape: Index
    low: Index
    high: Index
    outside: bool
    matrix: np.ndarray
    size: tuple[float, ...]

    @classmethod
    def of(cls, roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Region:
        """:raises IrisError: when the region does not meet the volume, or lies under a transform that is not linear."""
        shape = volumeNode.GetImageData().GetDimensions()
        matrix, size = _voxelsToRegion(roiNode, volumeNode), roiNode.GetSize()
        outside = bool(roiNode.GetInsideOut())
        low, high = ((0, 0, 0), tuple(shape)) if outside else _box(matrix, shape, size)
        region = cls(tuple(shape), low, high, outside, matrix, tuple(size))
        if not any(region._within(k, k + 1).any() for k in range(low[2], high[2])):  # the first plane tells mostly
            raise IrisError(
                f"The region '{roiNode.GetName()}' does not meet '{volumeNode.GetName()}'; move it, or choose none."
            )
        return region

    @cached_property
    def inside(self) -> np.ndarray:
        """Which voxels of the box are meant: (I, J, K) bool. Takes a while in a large scan, once."""
        return self._within(self.low[2], self.high[2])

    @property
    def box(self) -> tuple[slice, ...]:
        return tuple(slice(low, high) for low, high in zip(self.low, self.high, strict=True))

    def _within(self, low: int, high: int) -> np.ndarray:
        """Which voxels of the box's planes from ``low`` to before ``high`` are meant."""
        inside = _inside(self.matrix, (*self.low[:2], low), (*self.high[:2], high), self.size)
        return ~inside if self.outside else inside

    def cut(self, volume: Volume) -> Volume:
        """The box around the region as a scan of its own."""
        affine = volume.affine.copy()
        affine[:3, 3] = (volume.affine @ [*self.low, 1])[:3]
        return Volume(volume.array[self.box], affine, volume.name)

    def pasted(self, result: Result, volume: Volume) -> Result:
        """The result of the box on all voxels of the volume, with nothing outside the region."""
        part = result.segmentation
        layers = np.zeros((len(part.layers), *self.shape), part.layers.dtype)
        layers[(slice(None), *self.box)] = np.where(self.inside, part.layers, 0)
        whole = replace(part, layers=layers, affine=volume.affine)
        return replace(result, segmentation=whole, volumes_ml=whole.volumes_ml())


def _voxelsToRegion(roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """From a volume's indices to mm along the region's axes from its center, (4, 4)."""
    for node in (roiNode, volumeNode):
        parent = node.GetParentTransformNode()
        if parent is not None and not parent.IsTransformToWorldLinear():
            raise IrisError(
                f"'{node.GetName()}' lies under a transform that bends space, where a region is no box; "
                "harden that transform, or choose no region."
            )
    volumeToWorld = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(volumeNode.GetParentTransformNode(), None, volumeToWorld)
    array = slicer.util.arrayFromVTKMatrix
    return np.linalg.inv(array(roiNode.GetObjectToWorldMatrix())) @ array(volumeToWorld) @ affineOfNode(volumeNode)


def _box(matrix: np.ndarray, shape: Index, size: Sequence[float]) -> tuple[Index, Index]:
    """The first voxels inside the box of indices around a region, and the first ones beyond it; empty outside."""
    half = np.array(size) / 2
    lowest, highest = boundsOf(-half, half, np.linalg.inv(matrix))
    low = np.clip(np.ceil(lowest - 1e-6), 0, shape).astype(int)
    high = np.clip(np.floor(highest + 1e-6) + 1, low, shape).astype(int)
    return tuple(low.tolist()), tuple(high.tolist())


def _inside(matrix: np.ndarray, low: Index, high: Index, size: Sequence[float]) -> np.ndarray:
    """Which voxels from ``low`` to before ``high`` have their centers in a box of a size in mm around the origin."""
    inside = np.ones([h - n for n, h in zip(low, high, strict=True)], bool)
    i, j, k = np.ogrid[tuple(slice(n, h) for n, h in zip(low, high, strict=True))]
    for row, length in zip(matrix[:3], size, strict=True):
        # Along one axis of the volume this is a line of numbers, not a block of them.
        terms = [factor * axis for factor, axis in zip(row, (i, j, k), strict=False) if abs(factor) > 1e-9]
        inside &= np.abs(sum(terms, row[3])) <= length / 2 + 1e-6
    return inside
