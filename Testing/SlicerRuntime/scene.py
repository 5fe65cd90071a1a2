"""The MRML scene and the logics that Slicer's application would have set up around it."""

from __future__ import annotations

import os
import tempfile
import types
from typing import Any

import slicer
import slicer.util
import vtk

LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
}


def boot() -> Any:
    """Make `slicer.mrmlScene`, `slicer.modules` and `slicer.moduleNames`; returns the application logic."""
    quiet = vtk.vtkOutputWindow()
    quiet.SetDisplayModeToNever()
    vtk.vtkOutputWindow.SetInstance(quiet)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerApplicationLogic()
    crosshair = slicer.vtkMRMLCrosshairNode()  # slice views look for it
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    logic.SetMRMLScene(scene)
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    logic.SetTemporaryPath(tempfile.gettempdir())
    logic.GetColorLogic().SetMRMLScene(scene)
    slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    slicer.modules = types.SimpleNamespace()
    slicer.moduleNames = types.SimpleNamespace()
    for name, className in LOGICS.items():
        moduleLogic = getattr(slicer, className)()
        moduleLogic.SetMRMLApplicationLogic(logic)
        moduleLogic.SetMRMLScene(scene)
        logic.SetModuleLogic(name, moduleLogic)
        setattr(slicer.modules, name.lower(), types.SimpleNamespace(name=name, logic=lambda found=moduleLogic: found))
    slicer.modules.colors.logic().AddDefaultColorNodes()
    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, _addToSubjectHierarchy)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    _dataIO(scene)
    slicer.mrmlScene = scene
    return logic


def _dataIO(scene: Any) -> None:
    """Reading an .mrb needs a data IO manager with a cache folder."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    cache = os.path.join(tempfile.gettempdir(), "iris-runtime-cache")
    os.makedirs(cache, exist_ok=True)
    remote.GetCacheManager().SetRemoteCacheDirectory(cache)
    remote.AddDataIOToScene()
    _kept.append(remote)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _addToSubjectHierarchy(scene: Any, event: int, node: Any) -> None:
    """What the application's subject hierarchy plugins do with a new volume or segmentation."""
    if node.IsA("vtkMRMLVolumeNode") or node.IsA("vtkMRMLSegmentationNode"):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        if not scene.IsImporting() and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


_kept: list[Any] = []  # the scene holds only a plain pointer to its data IO
