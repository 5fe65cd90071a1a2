"""Results into the scene: a segmentation beside its volume. A rerun replaces what is as this module made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer

from .doubts import keepDoubt
from .segments import Voxels, addSegments, forget, isOurs, isTagged, sign
from .tags import TAG, TARGET_ROLE

if TYPE_CHECKING:
    from ..context.preset import Preset
    from ..engine import Result


def showResult(
    result: Result,
    preset: Preset,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    strategy: str = "ensemble",
    voxels: Voxels | None = None,
) -> slicer.vtkMRMLSegmentationNode:
    """Write a result beside its volume and return the segmentation node.

    An earlier result of the same preset on the same volume is replaced; segments that a person added to it stay. When a
    person has changed one that this module made, all of it stays and the new result is numbered. The node lies under
    the volume's parent transform before anything is written, because Slicer's import applies a differing transform
    twice.

    :param voxels: of the result, when they were put together already.
    """
    node = _ownResult(preset.name, volumeNode) or _newResult(preset.name, volumeNode)
    ids = fill(node, result, preset, strategy, voxels or Voxels.of(result.segmentation))
    if result.doubt is not None:
        keepDoubt(node, ids, result.doubt)
    return node


def fill(
    node: slicer.vtkMRMLSegmentationNode, result: Result, preset: Preset, strategy: str, voxels: Voxels
) -> list[str]:
    """Put a result into a node of this module, in place of what this module put there before; returns its segments'
    IDs."""
    before = [segmentID for segmentID in node.GetSegmentation().GetSegmentIDs() if isTagged(node, segmentID)]
    forget(node, before)
    ids = addSegments(node, voxels)
    sign(node, ids, result, preset, strategy, voxels)
    return ids


def isUntouched(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether every segment of this module is as it was made; those that a person added do not count."""
    ids = node.GetSegmentation().GetSegmentIDs()
    return all(isOurs(node, segmentID) for segmentID in ids if isTagged(node, segmentID))


def resultsOf(presetName: str, volumeNode: slicer.vtkMRMLNode) -> list[slicer.vtkMRMLNode]:
    """What this module made of a volume, or of a sequence of volumes, with a preset of this name."""
    kind = "vtkMRMLSequenceNode" if volumeNode.IsA("vtkMRMLSequenceNode") else "vtkMRMLSegmentationNode"
    return [
        node
        for node in slicer.util.getNodesByClass(kind)
        if node.GetNodeReferenceID(TARGET_ROLE) == volumeNode.GetID()
        and node.GetAttribute(TAG + "preset") == presetName
    ]


def markResult(node: slicer.vtkMRMLNode, presetName: str, volumeNode: slicer.vtkMRMLNode) -> None:
    """Remember in a node what it is the result of."""
    node.SetNodeReferenceID(TARGET_ROLE, volumeNode.GetID())
    node.SetAttribute(TAG + "preset", presetName)


def placeBeside(node: slicer.vtkMRMLNode, volumeNode: slicer.vtkMRMLNode) -> None:
    """In the subject hierarchy: under the same patient, study or folder."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is not None:
        item, beside = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volumeNode)
        if item and beside:
            hierarchy.SetItemParent(item, hierarchy.GetItemParent(beside))


def _ownResult(
    presetName: str, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode | None:
    """This module's result of a preset on a volume, if no one has changed it."""
    for node in resultsOf(presetName, volumeNode):
        if node.GetTransformNodeID() == volumeNode.GetTransformNodeID() and isUntouched(node):
            return node
    return None


def _newResult(presetName: str, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    name = slicer.mrmlScene.GenerateUniqueName(f"{volumeNode.GetName()} {presetName}")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), volumeNode.GetID())
    markResult(node, presetName, volumeNode)
    node.CreateDefaultDisplayNodes()
    placeBeside(node, volumeNode)
    return node
