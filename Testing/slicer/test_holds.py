"""How long the application is held by a scan of ten million voxels with twenty segments: less than it takes to blink.

What is measured is the processor time of the main thread, which other programs do not lengthen.
"""

import time
from contextlib import contextmanager

import numpy as np
import pytest

from IrisSegmentLib.context.preset import Preset, Reference
from IrisSegmentLib.engine import Result
from IrisSegmentLib.imaging.volume import Segment, Segmentation

SHAPE = (256, 256, 150)
AFFINE = np.diag([-0.8, -0.8, 2.0, 1.0])
COUNT = 20
HELD_MS = 50  # the longest that our code may hold the application; each of these takes a few


@contextmanager
def held(what):
    began = time.thread_time()
    yield
    taken = 1000 * (time.thread_time() - began)
    assert taken < HELD_MS, f"{what} holds the application for {taken:.0f} ms"


@pytest.fixture(scope="module")
def answer():
    """What a network might say: twenty balls, far apart."""
    layer = np.zeros(SHAPE[::-1], np.uint8).transpose(2, 1, 0)
    i, j, k = np.ogrid[-20:21, -20:21, -15:16]
    ball = i**2 + j**2 + k**2 < 20**2
    for number in range(COUNT):
        low = [10 + 48 * (number % 5), 10 + 195 * (number // 5 % 2), 5 + 110 * (number // 10)]
        layer[tuple(slice(n, n + m) for n, m in zip(low, ball.shape, strict=True))][ball] = number + 1
    segments = tuple(Segment(f"segment {n + 1}", (n / COUNT, 0.5, 0.5), "", 0, n + 1) for n in range(COUNT))
    segmentation = Segmentation(layer[None], AFFINE, segments, "answer")
    return Result(segmentation, (0.9,) * COUNT, segmentation.volumes_ml(), 0.1)


@pytest.fixture
def volumeNode(scene):
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, np.zeros(SHAPE[::-1], np.int16))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(AFFINE))
    return node


@pytest.fixture
def abdomen(answer):
    return Preset("abdomen", answer.segmentation.segments, (Reference({}, (1.0, 1.0, 1.0)),), "net", 1)


def test_results_are_written_and_written_again(answer, abdomen, volumeNode):
    from IrisSegmentLib.slicer.findings import Findings
    from IrisSegmentLib.slicer.results import showResult
    from IrisSegmentLib.slicer.segments import Voxels

    for what in ("A first result", "A result in place of another"):
        voxels = Voxels.of(answer.segmentation)  # elsewhere
        with held(what):
            node = showResult(answer, abdomen, volumeNode, "ensemble", voxels)
    findings = Findings()
    with held("The review"):
        assert len(findings.all()) == COUNT
    assert node.GetSegmentation().GetNumberOfLayers() == 1


def test_what_is_marked_is_read(answer, abdomen, volumeNode):
    from IrisSegmentLib.slicer.marks import Marks
    from IrisSegmentLib.slicer.results import showResult

    node = showResult(answer, abdomen, volumeNode)
    with held("A reference"):
        marks = Marks(node, volumeNode, list(node.GetSegmentation().GetSegmentIDs()))
    read = marks.segmentation()  # elsewhere
    assert np.array_equal(read.layers, answer.segmentation.layers)
    with held("A reference that was read"):
        marks.check()


def test_results_are_added_to_a_segmentation_that_has_many(answer, abdomen, volumeNode):
    """Segments of a person that share a layer of the whole scan's size; the person's empty ones are filled."""
    from IrisSegmentLib.slicer.existing import ExistingSegmentation
    from IrisSegmentLib.slicer.results import showResult
    from IrisSegmentLib.slicer.segments import Voxels

    node = showResult(answer, abdomen, volumeNode)
    segmentation = node.GetSegmentation()
    for number, segmentID in enumerate(segmentation.GetSegmentIDs()):
        segmentation.GetSegment(segmentID).SetName(f"mine {number}")
    existing = ExistingSegmentation(node)
    voxels = Voxels.of(answer.segmentation, apart=True)  # elsewhere
    with held("An addition"):
        existing.add(answer, abdomen, volumeNode, voxels=voxels)
    assert segmentation.GetNumberOfSegments() == 2 * COUNT
    with held("An addition in place of another"):
        existing.add(answer, abdomen, volumeNode, voxels=voxels)
    with held("An undo"):
        assert existing.undo() == []


def test_a_region_is_looked_at(volumeNode, scene):
    from IrisSegmentLib.slicer.nodes import volumeFromNode
    from IrisSegmentLib.slicer.region import Region

    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetCenter(-100, -100, 150)
    node.SetSize(150, 150, 250)
    for outside in (False, True):
        node.SetInsideOut(outside)
        with held("A region"):
            region = Region.of(node, volumeNode)
            region.cut(volumeFromNode(volumeNode))
        assert region.inside.any() and region.inside.all() != outside


def test_what_must_be_resampled_is_in_pieces(answer, abdomen, volumeNode, scene, monkeypatch):
    """The thread that does it holds Python's lock meanwhile, and the application waits for that."""
    import slicer

    from IrisSegmentLib.slicer.marks import Marks
    from IrisSegmentLib.slicer.results import showResult

    node = showResult(answer, abdomen, volumeNode)
    turned = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turned")
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    turned.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(turned.GetID())
    ids = list(node.GetSegmentation().GetSegmentIDs())[:10]
    times = []
    monkeypatch.setattr(time, "sleep", lambda seconds: times.append(time.thread_time()))
    marks = Marks(node, volumeNode, ids)
    marks.segmentation()
    assert len(times) > 20 and 1000 * np.diff(times).max() < 20


def test_an_edited_result_was_looked_at_elsewhere(answer, abdomen, volumeNode):
    """Its layer was written to, so that each of its segments must be looked at to know whose it is."""
    from IrisSegmentLib.slicer.results import showResult
    from IrisSegmentLib.slicer.segments import Voxels, lookedAt

    node = showResult(answer, abdomen, volumeNode)
    layer = node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")
    layer.GetPointData().GetScalars().Modified()  # a person's stroke, undone
    voxels = Voxels.of(answer.segmentation)
    with held("What is to be looked at"):
        look = lookedAt([node])
    look()  # elsewhere
    with held("A result in place of one that was written to"):
        assert showResult(answer, abdomen, volumeNode, "ensemble", voxels) is node
    layer = node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")
    scalars = layer.GetPointData().GetScalars()
    scalars.SetValue(scalars.GetNumberOfValues() // 2, 1)
    scalars.Modified()
    lookedAt([node])()
    assert showResult(answer, abdomen, volumeNode, "ensemble", voxels) is not node, "a stroke that stays is a person's"
