"""Scene nodes to plain values. Everything is in the volume's own coordinates; parent transforms are honored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import IrisError
from ..imaging.volume import Segment, Segmentation, Volume


def affineOfNode(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Index to local RAS in mm, (4, 4); a parent transform is not part of it."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def volumeFromNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The scan of a volume node; its array is a view of the node's voxels, not a copy.

    :raises IrisError: when the node holds no single-valued 3D image.
    """
    name = volumeNode.GetName()
    image = volumeNode.GetImageData()
    if image is None or 0 in image.GetDimensions():
        raise IrisError(f"The volume '{name}' holds no image; load it again or choose another.")
    if image.GetNumberOfScalarComponents() != 1:
        raise IrisError(f"The volume '{name}' has several values per voxel (color or vectors); choose another.")
    return Volume(slicer.util.arrayFromVolume(volumeNode).transpose(2, 1, 0), affineOfNode(volumeNode), name)


def unlessWritten(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, then: Callable[[Any], None], otherwise: Callable[[str], None]
) -> Callable[[Any], None]:
    """``then``, or ``otherwise`` with a sentence when the volume's voxels were written to between now and then: they
    are handed over while a person may go on, so that some would be old and some new."""
    name, written = volumeNode.GetName(), volumeNode.GetImageData().GetMTime()

    def either(answer: Any) -> None:
        image = volumeNode.GetImageData()
        if image is not None and image.GetMTime() != written:
            otherwise(f"'{name}' was changed while it was being learned from; start again.")
        else:
            then(answer)

    return either


def segmentationFromNode(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentIDs: Sequence[str],
) -> Segmentation:
    """Segments of a segmentation node on the voxels of a volume node, wherever parent transforms put the two.

    Segments share a layer unless they overlap.

    :raises IrisError: when a segment is empty there, or has no voxels and none can be made.
    """
    reference = orientedGrid(volumeNode)
    transform = _transformBetween(segmentationNode, volumeNode)
    segmentation = segmentationNode.GetSegmentation()
    voxels = segmentation.ContainsRepresentation("Binary labelmap")
    if not voxels and not segmentationNode.CreateBinaryLabelmapRepresentation():
        raise IrisError(f"'{segmentationNode.GetName()}' has no voxels; draw it in the Segment Editor first.")
    layers: list[np.ndarray] = []
    segments = []
    for segmentID in segmentIDs:
        segment = segmentation.GetSegment(segmentID)
        mask = _maskOnGrid(segmentationNode, segmentID, reference, transform)
        if not mask.any():
            raise IrisError(
                f"The segment '{segment.GetName()}' is empty on '{volumeNode.GetName()}'; draw it or untick it."
            )
        layer = next((n for n, taken in enumerate(layers) if not taken[mask].any()), None)
        if layer is None:
            layer = len(layers)
            layers.append(np.zeros(mask.shape, np.uint8))
        label = int(layers[layer].max()) + 1
        layers[layer][mask] = label
        segments.append(Segment(segment.GetName(), segment.GetColor(), segment.GetTerminology() or "", layer, label))
    return Segmentation(np.stack(layers), affineOfNode(volumeNode), tuple(segments), segmentationNode.GetName())


def orientedGrid(volumeNode: slicer.vtkMRMLVolumeNode) -> slicer.vtkOrientedImageData:
    """An empty image with the volume's voxels, in its local coordinates."""
    grid = slicer.vtkOrientedImageData()
    grid.SetDimensions(volumeNode.GetImageData().GetDimensions())
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    grid.SetGeometryFromImageToWorldMatrix(matrix)
    grid.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return grid


def _transformBetween(source: slicer.vtkMRMLNode, target: slicer.vtkMRMLNode) -> vtk.vtkAbstractTransform | None:
    """From the coordinates of one node to those of another, or None when they share their parent transform."""
    if source.GetTransformNodeID() == target.GetTransformNodeID():
        return None
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        source.GetParentTransformNode(), target.GetParentTransformNode(), transform
    )
    return transform


def _maskOnGrid(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentID: str,
    reference: slicer.vtkOrientedImageData,
    transform: vtk.vtkAbstractTransform | None,
) -> np.ndarray:
    """One segment on a grid, nearest neighbor: (I, J, K) bool."""
    labelmap = slicer.vtkOrientedImageData()
    segmentationNode.GetBinaryLabelmapRepresentation(segmentID, labelmap)
    shape = reference.GetDimensions()
    if labelmap.IsEmpty():
        return np.zeros(shape, bool)
    resampled = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        labelmap, reference, resampled, False, False, transform
    )
    return vtk_to_numpy(resampled.GetPointData().GetScalars()).reshape(shape[::-1]).transpose(2, 1, 0) > 0
