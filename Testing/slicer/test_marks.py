"""What is marked in a scan is read layer by layer as it was read segment by segment, only sooner."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nodemaker import SHAPE, addVolume, blocks, oblique

from IrisSegmentLib.errors import IrisError

EXAMPLES = int(os.environ.get("IRIS_EXAMPLES", "20"))
drawn = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 20, print_blob=True,
    suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
)  # fmt: skip


def one_by_one(segmentationNode, volumeNode, segmentIDs):
    """The plain way: each segment by itself put on the whole grid by Slicer. Its masks, and their layers and labels."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    grid, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    grid.SetDimensions(volumeNode.GetImageData().GetDimensions())
    grid.SetGeometryFromImageToWorldMatrix(matrix)
    transform = None
    if segmentationNode.GetTransformNodeID() != volumeNode.GetTransformNodeID():
        transform = vtk.vtkGeneralTransform()
        parents = segmentationNode.GetParentTransformNode(), volumeNode.GetParentTransformNode()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*parents, transform)
    shape = grid.GetDimensions()
    layers, places, masks = [], [], []
    for segmentID in segmentIDs:
        labelmap, moved = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
        segmentationNode.GetBinaryLabelmapRepresentation(segmentID, labelmap)
        mask = np.zeros(shape, bool)
        if not labelmap.IsEmpty():
            resample = slicer.vtkOrientedImageDataResample
            resample.ResampleOrientedImageToReferenceOrientedImage(labelmap, grid, moved, False, False, transform)
            values = vtk_to_numpy(moved.GetPointData().GetScalars())
            mask = values.reshape(shape[::-1]).transpose(2, 1, 0) > 0
        if not mask.any():
            raise IrisError(
                f"The segment '{segmentationNode.GetSegmentation().GetSegment(segmentID).GetName()}' is empty on "
                f"'{volumeNode.GetName()}'; draw it or untick it."
            )
        layer = next((n for n, taken in enumerate(layers) if not taken[mask].any()), len(layers))
        layers += [np.zeros(shape, np.uint8)] if layer == len(layers) else []
        label = int(layers[layer].max()) + 1
        layers[layer][mask] = label
        places.append((layer, label))
        masks.append(mask)
    return masks, places


def turned(draw):
    """Axes of an image: spacing, order, direction, and for half of them any turn."""
    spacing = [draw(st.sampled_from([0.5, 0.7, 1.0, 2.0, 3.0])) for _axis in range(3)]
    axes = np.eye(3)[:, list(draw(st.permutations(range(3))))] * [draw(st.sampled_from([-1, 1])) for _axis in range(3)]
    angle = draw(st.sampled_from([0.0, 0.0, 0.3, 1.1]))
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * spacing
    return affine


def addTransform(draw, scene):
    import slicer
    import vtk

    if draw(st.booleans()):
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = turned(draw)
        matrix[:3, :3] /= np.linalg.norm(matrix[:3, :3], axis=0)
        matrix[:3, 3] = [draw(st.integers(-3, 3)) for _axis in range(3)]
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    else:
        spline = vtk.vtkThinPlateSplineTransform()
        spline.SetBasisToR()
        there, here = vtk.vtkPoints(), vtk.vtkPoints()
        for corner in np.ndindex(2, 2, 2):
            place = (np.array(corner) - 0.5) * 60
            there.InsertNextPoint(place)
            here.InsertNextPoint(place + [draw(st.floats(-4, 4)) for _axis in range(3)])
        spline.SetSourceLandmarks(there)
        spline.SetTargetLandmarks(here)
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        node.SetAndObserveTransformToParent(spline)
    if draw(st.booleans()):
        node.Inverse()
    if draw(st.integers(0, 2)) == 0:
        node.SetAndObserveTransformNodeID(addTransform(draw, scene).GetID())
    return node


def addLayer(node, draw, affine, shape, count):
    """Some segments that share voxels of a random part of space around the middle of a volume."""
    import slicer
    from vtk.util.numpy_support import numpy_to_vtk

    random = np.random.default_rng(draw(st.integers(0, 99)))
    size = [draw(st.integers(0, 12)) for _axis in range(3)]
    low = [n // 2 + draw(st.integers(-9, 3)) for n in shape]
    labels = random.permutation(2 * count)[:count] + 1
    image = slicer.vtkOrientedImageData()
    image.SetExtent([n for a, b in zip(low, size, strict=True) for n in (a, a + b - 1)])
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    values = random.choice([0, 0, *labels], size[::-1]).astype(draw(st.sampled_from([np.uint8, np.int16])))
    if values.size:
        image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    for label in labels:
        segment = slicer.vtkSegment()
        segment.SetName(f"segment {node.GetSegmentation().GetNumberOfSegments()}")
        segment.SetLabelValue(int(label))
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)


def reading(read):
    try:
        return read()
    except IrisError as error:
        return str(error)


@drawn
@given(data=st.data())
def test_layers_are_read_as_segments_one_by_one(data):
    import slicer

    from IrisSegmentLib.slicer.marks import Marks

    scene, draw = slicer.mrmlScene, data.draw
    scene.Clear(False)
    shape = tuple(draw(st.integers(1, 16)) for _axis in range(3))
    affine = turned(draw)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) / 2)
    volumeNode = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(volumeNode, np.zeros(shape[::-1], np.int16))
    volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    for _layer in range(draw(st.integers(1, 3))):
        grid = affine.copy()
        if not draw(st.booleans()):
            grid = turned(draw)
            grid[:3, 3] = affine[:3, 3] + draw(st.sampled_from([0.0, 0.25, 0.5]))
        addLayer(node, draw, grid, shape, draw(st.integers(1, 4)))
    for moved in (volumeNode, node):
        if draw(st.integers(0, 2)) == 0:
            moved.SetAndObserveTransformNodeID(addTransform(draw, scene).GetID())
    every = list(node.GetSegmentation().GetSegmentIDs())
    ids = [segmentID for segmentID in every if draw(st.integers(0, 4))] or every
    ids = ids if draw(st.booleans()) else ids[::-1]
    expected = reading(lambda: one_by_one(node, volumeNode, ids))
    found = reading(lambda: Marks(node, volumeNode, ids).segmentation())
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return
    masks, places = expected
    assert [(s.layer, s.label) for s in found.segments] == places and np.array_equal(found.affine, affine)
    assert all(np.array_equal(found.mask(n), mask) for n, mask in enumerate(masks))


def drawn_on(volumeNode):
    """A segmentation of two segments that lies a little shifted and turned against the volume."""
    import slicer
    from vtk.util.numpy_support import numpy_to_vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(SHAPE)
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(oblique()))
    values = sum(mask.transpose(2, 1, 0) * np.uint8(n + 1) for n, mask in enumerate(blocks()))
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=True))
    for label in (1, 2):
        segment = slicer.vtkSegment()
        segment.SetName(f"segment {label}")
        segment.SetLabelValue(label)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    moved = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    matrix = np.eye(4)
    matrix[:3] = [[np.cos(0.1), -np.sin(0.1), 0, 2], [np.sin(0.1), np.cos(0.1), 0, -1], [0, 0, 1, 4]]
    moved.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(moved.GetID())
    return node


def test_what_moves_after_the_click_does_not_count():
    """A transform that is changed while the segments are read is that of the click."""
    import vtk

    from IrisSegmentLib.slicer.marks import Marks

    volumeNode, _array = addVolume()
    node = drawn_on(volumeNode)
    ids = list(node.GetSegmentation().GetSegmentIDs())
    expected = Marks(node, volumeNode, ids).segmentation()
    assert not np.array_equal(expected.mask(0), blocks()[0])
    marks = Marks(node, volumeNode, ids)
    node.GetParentTransformNode().SetMatrixTransformToParent(vtk.vtkMatrix4x4())
    assert np.array_equal(marks.segmentation().layers, expected.layers)


def test_voxels_that_are_written_to_before_they_are_read_are_told_of():
    from IrisSegmentLib.slicer.marks import Marks

    volumeNode, _array = addVolume()
    node = drawn_on(volumeNode)
    node.SetAndObserveTransformNodeID(None)
    segmentation = node.GetSegmentation()
    marks = Marks(node, volumeNode, list(segmentation.GetSegmentIDs()))
    written = segmentation.GetSegment(segmentation.GetSegmentIDs()[0]).GetRepresentation("Binary labelmap")
    written.GetPointData().GetScalars().Modified()
    marks.segmentation()
    with pytest.raises(IrisError, match="'drawn' was changed while it was being learned from"):
        marks.check()
    marks = Marks(node, volumeNode, list(segmentation.GetSegmentIDs()))
    marks.segmentation()
    marks.check()
    written.GetPointData().GetScalars().Modified()
    marks.check()  # they were read before


def test_reading_that_nobody_waits_for_ends():
    from IrisSegmentLib.slicer.marks import Marks

    volumeNode, _array = addVolume()
    node = drawn_on(volumeNode)
    marks = Marks(node, volumeNode, list(node.GetSegmentation().GetSegmentIDs()))
    marks.stop()
    with pytest.raises(IrisError, match="stopped"):
        marks.segmentation()
