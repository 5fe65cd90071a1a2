"""A region of interest, voxel by voxel, under any transform."""

import numpy as np
import pytest
from nodemaker import SHAPE, addTransform, addVolume, oblique, result

from IrisSegmentLib.errors import IrisError


def addRegion(center, size):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetCenter(*center)
    node.SetSize(*size)
    return node


def place(affine, index):
    return (affine @ [*index, 1])[:3]


@pytest.mark.parametrize("moved", ["nothing", "volume", "region", "both"])
@pytest.mark.parametrize("insideOut", [False, True])
def test_a_region_is_the_voxels_that_slicer_says_are_in_it(moved, insideOut):
    import vtk

    from IrisSegmentLib.slicer.nodes import volumeFromNode
    from IrisSegmentLib.slicer.region import Region

    volumeNode, array = addVolume()
    node = addRegion(place(oblique(), (11.2, 9.3, 7.4)), (7.0, 9.0, 20.0))
    node.SetInsideOut(insideOut)
    transform = addTransform(4)
    transform.SetMatrixTransformToParent(_small(transform))
    for name, other in (("volume", volumeNode), ("region", node)):
        if moved in (name, "both"):
            other.SetAndObserveTransformNodeID(transform.GetID())
    region, volume = Region.of(node, volumeNode), volumeFromNode(volumeNode)
    answer = result(oblique(), (np.ones(SHAPE, bool), np.zeros(SHAPE, bool)))
    shown = region.cut(volume)
    part = tuple(slice(low, low + n) for low, n in zip(region.low, shown.shape, strict=True))
    assert np.array_equal(shown.array, array[part]) and np.allclose(shown.affine[:3, 3], place(oblique(), region.low))
    cut = result(shown.affine, (np.ones(shown.shape, bool), np.zeros(shown.shape, bool)))
    pasted = region.pasted(cut, volume).segmentation
    toWorld = vtk.vtkGeneralTransform()
    if volumeNode.GetParentTransformNode():
        volumeNode.GetParentTransformNode().GetTransformToWorld(toWorld)
    expected = np.zeros(SHAPE, bool)
    for index in np.ndindex(SHAPE):
        expected[index] = node.IsPointInROIWorld(toWorld.TransformPoint(place(oblique(), index)))
    assert expected.any() and not expected.all()
    assert np.array_equal(pasted.mask(0), expected) and pasted.shape == answer.segmentation.shape


def _small(transform):
    """A turn and a shift by a few mm."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToParent(matrix)
    array = slicer.util.arrayFromVTKMatrix(matrix)
    center = place(oblique(), (11, 9, 7))
    array[:3, 3] = center - array[:3, :3] @ center + [1, 2, -1]
    return slicer.util.vtkMatrixFromArray(array)


def test_a_region_elsewhere_is_one_sentence():
    from IrisSegmentLib.slicer.region import Region

    volumeNode, _array = addVolume()
    with pytest.raises(IrisError, match="'R' does not meet 'CT'"):
        Region.of(addRegion((900, 0, 0), (5, 5, 5)), volumeNode)
