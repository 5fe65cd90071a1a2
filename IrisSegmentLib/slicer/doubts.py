"""Where a result is in doubt, kept with it in the scene: a hidden volume, and a place per segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from .tags import DOUBT_ROLE, TAG, tagOf

if TYPE_CHECKING:
    from ..engine.doubt import Doubt

PLACE = "Doubt"  # the tag of a place: RAS in mm, in the coordinates of the result
LEAST = 64  # of 255: what is less in doubt is not colored
COLORS = "vtkMRMLColorTableNodeIron"


def keepDoubt(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Sequence[str], doubt: Doubt) -> None:
    """Keep it beside a result that was just written as these segments; an earlier one is replaced."""
    node = doubtVolume(segmentationNode) or _newVolume(segmentationNode)
    node.SetAndObserveTransformNodeID(segmentationNode.GetTransformNodeID())
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(doubt.affine))
    image = vtk.vtkImageData()
    image.SetDimensions(doubt.values.shape)
    scalars = numpy_to_vtk(np.ascontiguousarray(doubt.values.transpose(2, 1, 0)).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    node.SetAndObserveImageData(image)
    segmentation = segmentationNode.GetSegmentation()
    for segmentID, place in zip(segmentIDs, doubt.places, strict=True):
        segmentation.GetSegment(segmentID).SetTag(TAG + PLACE, " ".join(f"{mm:.2f}" for mm in place))


def doubtVolume(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """0 certain, 255 undecided; None in a scene that was saved and loaded, which keeps the places only."""
    return segmentationNode.GetNodeReference(DOUBT_ROLE)


def placeOfDoubt(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentID: str) -> tuple[float, float, float] | None:
    """Where a segment is most in doubt: RAS in mm in the world, or None when it is not known."""
    words = tagOf(segmentationNode.GetSegmentation().GetSegment(segmentID), PLACE)
    if not words:
        return None
    local, world = [float(mm) for mm in words.split()], [0.0, 0.0, 0.0]
    segmentationNode.TransformPointToWorld(local, world)
    return (world[0], world[1], world[2])


def removeOrphans() -> None:
    """Remove the maps whose results are no longer in the scene: no list shows them, so no person could."""
    results = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    known = {node.GetNodeReferenceID(DOUBT_ROLE) for node in results}
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(DOUBT_ROLE) and node.GetID() not in known:
            for part in (node.GetDisplayNode(), node):
                slicer.mrmlScene.RemoveNode(part)


def _newVolume(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLScalarVolumeNode:
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(f"{segmentationNode.GetName()} doubt")
    node.SetHideFromEditors(True)  # before it enters the scene, so that no list ever shows it
    node.SetSaveWithScene(False)
    node.SetAttribute(DOUBT_ROLE, "1")
    slicer.mrmlScene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(COLORS)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 255)
    display.SetThreshold(LEAST, 255)
    display.ApplyThresholdOn()
    segmentationNode.SetNodeReferenceID(DOUBT_ROLE, node.GetID())
    return node
