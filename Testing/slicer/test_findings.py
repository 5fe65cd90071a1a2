"""Results as they are reviewed: where they are in doubt, and what their table says."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

SlicerRuntime = pytest.importorskip("SlicerRuntime")

SHAPE = (40, 30, 50)


def scan(leftHanded, transformed, name="CT"):
    """An oblique volume, with a parent transform or none."""
    import slicer

    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-2.0 if leftHanded else 2.0, 1.5, 1.0])
    affine[:3, 3] = (12, -40, 7)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.full(SHAPE[::-1], 100, np.int16))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    node.CreateDefaultDisplayNodes()
    if transformed:
        parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        matrix = np.array([[0, -1.0, 0, 30], [1, 0, 0, -12], [0, 0, 1, 55], [0, 0, 0, 1]])
        parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node, affine


def reviewed(affine, voxel, classes=2):
    """A result that is undecided around one voxel, for its second class, and certain elsewhere."""
    from IrisSegmentLib.engine import Result
    from IrisSegmentLib.engine.doubting import doubt_of
    from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
    from IrisSegmentLib.imaging.window import Window

    window = Window.whole_scan(Volume(np.zeros(SHAPE, np.uint8), affine), 32)
    logits = torch.full((classes, *window.shape), -20.0)
    to_cells = np.linalg.inv(doubt_of([(window, logits)], window, affine).affine)
    cell = np.rint(to_cells @ affine @ [*voxel, 1])[:3].astype(int)
    logits[(1, *(slice(c - 1, c + 2) for c in cell))] = 0.0
    layer = np.zeros(SHAPE, np.uint8)
    for n in range(classes):
        layer[2 + n, 2:10, 2:10] = n + 1
    segments = tuple(Segment(f"Part {n}", (0.2, 0.4, n / classes), "", 0, n + 1) for n in range(classes))
    segmentation = Segmentation(layer[None], affine, segments, "result")
    confidence = tuple(0.9 - n / 100 for n in range(classes))
    doubt = doubt_of([(window, logits)], window, affine)
    return Result(segmentation, confidence, segmentation.volumes_ml(), 0.1, doubt)


def made(result, usual=0.1):
    from IrisSegmentLib.context.preset import Preset, Reference

    segments = result.segmentation.segments
    return Preset("parts", segments, (Reference({}, (1.0, 1.0, 1.0), volumes_ml=(usual,) * len(segments)),), "net", 1)


@pytest.mark.parametrize("leftHanded", [False, True])
@pytest.mark.parametrize("transformed", [False, True])
def test_the_views_jump_to_the_doubt_and_color_it_wherever_the_scan_lies(leftHanded, transformed):
    import slicer
    from SlicerRuntime.views import SliceView

    from IrisSegmentLib.slicer.doubts import doubtVolume
    from IrisSegmentLib.slicer.findings import Findings
    from IrisSegmentLib.slicer.results import showResult
    from IrisSegmentLib.slicer.sliceviews import showCase

    volume, affine = scan(leftHanded, transformed)
    view = SliceView("Red", "Axial", (200, 200))
    voxel = np.array([25, 12, 30])
    result = reviewed(affine, voxel)
    node = showResult(result, made(result), volume)
    first, second = Findings().all()
    assert (first.segment, second.segment) == ("Part 1", "Part 0"), "the least certain first"
    world = np.zeros(3)
    volume.TransformPointToWorld((affine @ [*voxel, 1])[:3], world)
    assert np.abs(np.array(first.place) - world).max() < 4, "within two cells"

    pictures = {}
    for overlay in (None, doubtVolume(node)):
        showCase(node, volume, first.place, overlay)
        node.GetDisplayNode().SetVisibility(False)
        assert abs(view.node.GetSliceOffset() - first.place[2]) < 0.01
        view._image.SetMapper(view._mapper)
        view._mapper.SetInputConnection(view._logic.GetImageDataConnection())
        view._renderer.AddViewProp(view._image)
        pictures[overlay is not None] = view.pixels().astype(int)
    toView = slicer.util.arrayFromVTKMatrix(view.node.GetXYToRAS())
    x, y = (np.linalg.inv(toView) @ [*first.place, 1])[:2]
    changed = np.abs(pictures[True] - pictures[False]).max(2) > 40
    assert changed[199 - round(y), round(x)] and 4 < changed.sum() < 0.2 * changed.size
    red, _green, blue = pictures[True][199 - round(y), round(x)]
    assert red > blue, "in color"


def test_a_result_written_again_has_one_map_of_doubt_and_is_new_again(scene):
    from IrisSegmentLib.slicer.doubts import doubtVolume
    from IrisSegmentLib.slicer.findings import ACCEPTED, Findings, setState
    from IrisSegmentLib.slicer.results import showResult

    volume, affine = scan(False, False)
    one, other = reviewed(affine, (10, 10, 10)), reviewed(affine, (30, 20, 40))
    node = showResult(one, made(one), volume)
    setState(Findings().all(), ACCEPTED)
    before, place = doubtVolume(node), Findings().all()[0].place
    assert showResult(other, made(other), volume) is node
    found = Findings().all()
    assert doubtVolume(node) is before and found[0].place != place and {f.state for f in found} == {"new"}
    assert found[0].volume_ml == pytest.approx(64 * 3 / 1000) and found[0].difference == pytest.approx(92)


def test_a_segment_that_was_left_empty_says_so_until_a_person_draws_it(tmp_path):
    import slicer

    from IrisSegmentLib.slicer.findings import Findings, saveCsv
    from IrisSegmentLib.slicer.results import showResult

    volume, affine = scan(False, False)
    result = reviewed(affine, (10, 10, 10))
    layers = np.where(result.segmentation.layers == 2, 0, result.segmentation.layers)
    empty = replace(result.segmentation, layers=layers)
    left = replace(
        result, segmentation=empty, confidence=(0.9, 0.0), volumes_ml=empty.volumes_ml(), left_empty=(False, True)
    )
    node = showResult(left, made(left), volume)
    first, second = Findings().all()
    assert first.segment == "Part 1" and first.note == left.words(1) != "" == second.note
    saveCsv([first, second], tmp_path / "r.csv")
    lines = (tmp_path / "r.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].endswith(",Note") and "check that it is not there" in lines[1] and lines[2].endswith(",")
    mask = np.zeros(SHAPE[::-1], np.uint8)
    mask[5:9, 5:9, 5:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, first.segmentID, volume)
    assert [f.note for f in Findings().all()] == ["", ""]


def test_many_results_are_read_within_the_time_that_slicer_may_be_held():
    from IrisSegmentLib.slicer.findings import Findings
    from IrisSegmentLib.slicer.results import showResult

    affine = scan(False, False)[1]
    result = reviewed(affine, (10, 10, 10), classes=8)
    preset = made(result)
    for n in range(30):
        showResult(result, preset, scan(False, False, f"Patient {n}")[0])
    findings = Findings()
    began = time.thread_time()
    assert len(findings.all()) == 240
    spent = time.thread_time() - began
    assert spent < 0.02, f"{1000 * spent:.0f} ms for 240 segments"


def test_what_a_person_thought_of_results_is_saved_with_the_scene(scene, tmp_path):
    from IrisSegmentLib.slicer.doubts import doubtVolume
    from IrisSegmentLib.slicer.findings import ACCEPTED, Findings, setState
    from IrisSegmentLib.slicer.results import isUntouched, showResult

    volume, affine = scan(False, True)
    result = reviewed(affine, (10, 10, 10))
    node = showResult(result, made(result), volume)
    setState(Findings().all()[:1], ACCEPTED)
    before = Findings().all()
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(False)
    assert not Findings().all() and scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    after = Findings().all()
    assert [f.row() for f in after] == [f.row() for f in before] and after[0].state == ACCEPTED
    assert np.allclose(after[0].place, before[0].place) and doubtVolume(after[0].node) is None
    assert isUntouched(after[0].node)
    assert node is not after[0].node
