"""Scene nodes to plain values. Everything is in the volume's own coordinates; parent transforms are honored."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ..errors import IrisError
from ..imaging.volume import Volume


def affineOfNode(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Index to local RAS in mm, (4, 4); a parent transform is not part of it."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def worldOf(image: slicer.vtkOrientedImageData) -> np.ndarray:
    """Index to the coordinates of an image's node in mm, (4, 4)."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
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
