"""Results into the scene: a segmentation beside its volume. A rerun replaces it, unless a person has changed it."""

from __future__ import annotations

import time
import zlib
from functools import lru_cache

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .. import __version__
from ..context.preset import Preset
from ..engine import Result
from ..imaging.volume import Segmentation
from .doubts import keepDoubt
from .tags import TAG, TARGET_ROLE, voxelTime


def showResult(
    result: Result, preset: Preset, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode:
    """Write a result beside its volume and return the segmentation node.

    An earlier result of the same preset on the same volume is replaced, unless a person has changed it since: then it
    stays and the new one is numbered. The node lies under the volume's parent transform before anything is written,
    because Slicer's import applies a differing transform twice.
    """
    node = _ownResult(preset.name, volumeNode) or _newResult(preset.name, volumeNode)
    segmentation = node.GetSegmentation()
    segmentation.RemoveAllSegments()
    for number, segment in enumerate(result.segmentation.segments):
        segmentID = _addSegment(node, result.segmentation, number)
        usual = preset.volumes_ml()[number]
        added = segmentation.GetSegment(segmentID)
        if segment.terminology:
            added.SetTerminology(segment.terminology)
        for key, value in {
            "Preset": preset.name,
            "Network": preset.network,
            "References": str(sum(r.enabled for r in preset.references)),
            "Version": __version__,
            "Time": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "Confidence": f"{result.confidence[number]:.3f}",
            "Volume": f"{result.volumes_ml[number]:.4f}",
            "UsualVolume": "" if usual is None else f"{usual:.4f}",
        }.items():
            added.SetTag(TAG + key, value)
    segmentation.CollapseBinaryLabelmaps(False)
    if result.doubt is not None:
        keepDoubt(node, result.doubt)
    node.SetAttribute(TAG + "fingerprint", _fingerprint(node))
    node.SetAttribute(TAG + "time", voxelTime(node))
    return node


def isCorrected(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a person has changed a result since it was written; looks at its voxels only where they may have been."""
    when = voxelTime(node)
    return node.GetAttribute(TAG + "time") != when and _differs(node.GetID(), when)


@lru_cache(256)
def _differs(nodeID: str, when: str) -> bool:
    node = slicer.mrmlScene.GetNodeByID(nodeID)
    return node.GetAttribute(TAG + "fingerprint") != _fingerprint(node)


def _ownResult(
    presetName: str, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode | None:
    """This module's result of a preset on a volume, if no one has changed it."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if (
            node.GetNodeReferenceID(TARGET_ROLE) == volumeNode.GetID()
            and node.GetAttribute(TAG + "preset") == presetName
            and node.GetAttribute(TAG + "fingerprint") == _fingerprint(node)
            and node.GetTransformNodeID() == volumeNode.GetTransformNodeID()
        ):
            return node
    return None


def _newResult(presetName: str, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    name = slicer.mrmlScene.GenerateUniqueName(f"{volumeNode.GetName()} {presetName}")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), volumeNode.GetID())
    node.SetNodeReferenceID(TARGET_ROLE, volumeNode.GetID())
    node.SetAttribute(TAG + "preset", presetName)
    node.CreateDefaultDisplayNodes()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is not None:
        item, parent = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volumeNode)
        if item and parent:
            hierarchy.SetItemParent(item, hierarchy.GetItemParent(parent))
    return node


def _addSegment(node: slicer.vtkMRMLSegmentationNode, segmentation: Segmentation, number: int) -> str:
    segment = segmentation.segments[number]
    labelmap = _labelmap(segmentation, number)
    return node.AddSegmentFromBinaryLabelmapRepresentation(labelmap, segment.name, segment.color)


def _labelmap(segmentation: Segmentation, number: int) -> slicer.vtkOrientedImageData:
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


def _fingerprint(node: slicer.vtkMRMLSegmentationNode) -> str:
    """Changes when anyone changes a segment's voxels, name or color."""
    value = 0
    segmentation = node.GetSegmentation()
    for segmentID in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentID)
        value = zlib.crc32(f"{segment.GetName()} {segment.GetColor()}".encode(), value)
        labelmap = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segmentID, labelmap)
        if not labelmap.IsEmpty():
            scalars = labelmap.GetPointData().GetScalars()
            value = zlib.crc32(str(labelmap.GetExtent()).encode(), value)
            value = zlib.crc32(memoryview(np.ascontiguousarray(vtk_to_numpy(scalars))), value)
    return f"{value:08x}"
