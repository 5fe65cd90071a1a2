"""A segmentation into Slicer's Segment Editor."""

from __future__ import annotations

import slicer

EDITOR = "SegmentEditor"


def openInSegmentEditor(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentID: str
) -> None:
    """Choose the segment there and show that module; without a main window it is chosen only."""
    node = slicer.mrmlScene.GetSingletonNode(EDITOR, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(EDITOR)  # the module's own, by the name it looks for
        node = slicer.mrmlScene.AddNode(node)
    node.SetAndObserveSegmentationNode(segmentationNode)
    node.SetAndObserveSourceVolumeNode(volumeNode)
    node.SetSelectedSegmentID(segmentID)
    if slicer.util.mainWindow() is not None:
        slicer.util.selectModule(EDITOR)
