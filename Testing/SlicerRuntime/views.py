"""Slice views without a window: Slicer's own displayable managers draw into an offscreen renderer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS = ("vtkMRMLSegmentationsDisplayableManager2D",)


class SliceView:
    """One slice view.

    :param orientation: Axial, Sagittal or Coronal.
    :param size: pixels, (width, height).

    Example::

        view = SliceView("Red", "Axial", (400, 400))
        view.show(volumeNode, {segmentationNode}, center=(10, -20, 30))
        view.save("axial.png")
    """

    def __init__(self, name: str, orientation: str, size: tuple[int, int] = (400, 400)) -> None:
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.ShowWindowOff()
        self._window.SetSize(*size)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.Initialize()
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(self._mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(self._renderer)
        self._group.Initialize(factory, self._renderer)
        application = slicer.app.applicationLogic()
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application)
        application.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self._logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self._group.SetMRMLDisplayableNode(self.node)
        self._logic.ResizeSliceNode(*size)

    def show(self, volumeNode: Any, segmentationNodes: set[Any], center: tuple[float, float, float]) -> None:
        """Fit a volume into the view at a place (world RAS, mm), with these segmentations and no others drawn on it."""
        self._logic.GetSliceCompositeNode().SetBackgroundVolumeID(volumeNode.GetID())
        self._logic.FitSliceToBackground()
        self.node.JumpSliceByOffsetting(*center)
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetVisibility(node in segmentationNodes)
            node.GetDisplayNode().SetOpacity2DFill(0.0)  # an outline leaves the image to be judged
            node.GetDisplayNode().SetSliceIntersectionThickness(2)
        connection = self._logic.GetImageDataConnection()
        if connection is not None:
            self._mapper.SetInputConnection(connection)
            if not self._renderer.HasViewProp(self._image):
                self._renderer.AddViewProp(self._image)

    def pixels(self) -> np.ndarray:
        """The picture, (height, width, 3) uint8, top row first."""
        self._window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]

    def save(self, path: str | Path) -> None:
        """Write the picture as PNG."""
        self._window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        writer = vtk.vtkPNGWriter()
        writer.SetInputConnection(grabber.GetOutputPort())
        writer.SetFileName(str(path))
        writer.Write()
