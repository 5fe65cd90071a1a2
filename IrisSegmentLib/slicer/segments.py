"""Segments that this module makes: their voxels, their tags, and whether a person has touched them since."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .. import __version__
from ..imaging.volume import Segmentation

if TYPE_CHECKING:
    from ..context.preset import Preset
    from ..engine import Result

TAG = "IrisSegment."  # what this module's own tags and attributes begin with
FINGERPRINT = TAG + "Fingerprint"


def labelmapOf(segmentation: Segmentation, number: int) -> slicer.vtkOrientedImageData:
    """One segment as an image no larger than it is, in the grid of the whole."""
    mask = segmentation.mask(number)
    found = [np.flatnonzero(mask.any(tuple(m for m in range(3) if m != n))) for n in range(3)]
    bounds = [(int(f[0]), int(f[-1])) if len(f) else (0, -1) for f in found]
    image = slicer.vtkOrientedImageData()
    image.SetExtent([v for pair in bounds for v in pair])
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(segmentation.affine))
    if bounds[0][1] >= 0:
        part = mask[tuple(slice(low, high + 1) for low, high in bounds)].astype(np.uint8)
        scalars = numpy_to_vtk(np.ascontiguousarray(part.transpose(2, 1, 0)).ravel(), deep=True)
        scalars.SetName("ImageScalars")
        image.GetPointData().SetScalars(scalars)
    else:
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return image


def addSegment(node: slicer.vtkMRMLSegmentationNode, result: Result, number: int) -> str:
    """A result's segment as a new one of a node on the same voxels; returns its ID."""
    words = result.segmentation.segments[number]
    labelmap = labelmapOf(result.segmentation, number)
    return node.AddSegmentFromBinaryLabelmapRepresentation(labelmap, words.name, words.color)


def sign(
    node: slicer.vtkMRMLSegmentationNode, segmentIDs: list[str], result: Result, preset: Preset, strategy: str
) -> None:
    """Write into segments where they came from: the result's, in its order, once all are in place.

    The tags are Preset, Network, References, Strategy, Version, Time and Confidence, each after "IrisSegment.", and a
    fingerprint by which `isOurs` knows them again.
    """
    for number, segmentID in enumerate(segmentIDs):
        segment = node.GetSegmentation().GetSegment(segmentID)
        terminology = result.segmentation.segments[number].terminology
        if terminology:
            segment.SetTerminology(terminology)
        for key, value in {
            "Preset": preset.name,
            "Network": preset.network,
            "References": str(sum(r.enabled for r in preset.references)),
            "Strategy": strategy,
            "Version": __version__,
            "Time": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "Confidence": f"{result.confidence[number]:.3f}",
            "Fingerprint": _fingerprint(node, segmentID),
        }.items():
            segment.SetTag(TAG + key, value)


def isTagged(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> bool:
    """Whether this module made a segment, whatever became of it since."""
    return bool(node.GetSegmentation().GetSegment(segmentID).HasTag(FINGERPRINT))


def isOurs(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> bool:
    """Whether a segment is as this module made it: no voxel, name or color was changed."""
    told = vtk.reference("")
    segment = node.GetSegmentation().GetSegment(segmentID)
    return bool(segment.GetTag(FINGERPRINT, told)) and str(told) == _fingerprint(node, segmentID)


def isEmpty(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> bool:
    """Whether a segment has no voxel."""
    return _voxels(node, segmentID) is None


def _fingerprint(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> str:
    """Changes with a segment's voxels, name and color; not with those of its neighbors in a shared layer."""
    segment = node.GetSegmentation().GetSegment(segmentID)
    value = zlib.crc32(f"{segment.GetName()} {segment.GetColor()}".encode())
    voxels = _voxels(node, segmentID)
    if voxels is not None:
        value = zlib.crc32(str(voxels.GetExtent()).encode(), value)
        mask = vtk_to_numpy(voxels.GetPointData().GetScalars()) > 0
        value = zlib.crc32(memoryview(np.ascontiguousarray(mask)), value)
    return f"{value:08x}"


def _voxels(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> slicer.vtkOrientedImageData | None:
    """A segment's voxels, the image cut to them, or None when there are none."""
    labelmap, extent = slicer.vtkOrientedImageData(), [0] * 6
    node.GetBinaryLabelmapRepresentation(segmentID, labelmap)
    if labelmap.IsEmpty() or not slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(labelmap, extent):
        return None
    cut = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.CopyImage(labelmap, cut, extent)
    return cut
