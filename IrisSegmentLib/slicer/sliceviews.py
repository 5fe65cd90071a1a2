"""The slice views: a case fitted into them, at a place, its doubt in color above it."""

from __future__ import annotations

import slicer

from .tags import TARGET_ROLE

OPACITY = 0.5


def showCase(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    place: tuple[float, float, float] | None,
    overlay: slicer.vtkMRMLScalarVolumeNode | None,
) -> None:
    """Fit a result's volume into every slice view.

    :param place: where to jump, RAS in mm in the world; None to stay at the volume's middle.
    :param overlay: a volume in color above it, or None.
    """
    _showOnly(segmentationNode)
    showOverlay(overlay)
    for logic in _logics():
        logic.GetSliceCompositeNode().SetBackgroundVolumeID(volumeNode.GetID())
        logic.FitSliceToBackground()
        if place is not None:
            logic.GetSliceNode().JumpSliceByOffsetting(*place)
    if place is not None:
        _mark(place)


def showOverlay(overlay: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """In color above what the slice views show; None for nothing."""
    for logic in _logics():
        composite = logic.GetSliceCompositeNode()
        composite.SetForegroundVolumeID(overlay.GetID() if overlay is not None else None)
        composite.SetForegroundOpacity(OPACITY)


def _logics() -> list[slicer.vtkMRMLSliceLogic]:
    logics = slicer.app.applicationLogic().GetSliceLogics()
    return [logics.GetItemAsObject(n) for n in range(logics.GetNumberOfItems())]


def _showOnly(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Of this module's results: another patient's outline is not to lie over this one."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetNodeReferenceID(TARGET_ROLE) and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(node is segmentationNode)


def _mark(place: tuple[float, float, float]) -> None:
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None:
        crosshair.SetCrosshairRAS(*place)
        crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowSmallBasic)
