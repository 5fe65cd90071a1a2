"""Iris where people look for it: right-click, Segment Editor, keyboard, script."""

import numpy as np
import pytest
import SlicerRuntime
from radiologist import NAMES, ROOT, choose, dices, encode, load, mark, results


def hierarchy():
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def menu(item):
    """What a right-click offers: texts and actions; of a submenu, its own."""
    from SlicerRuntime.plugins import contextMenu

    offered = {}
    for action in contextMenu(item):
        inner = action.menu()
        offered[action.text] = action if inner is None else {a.text: a for a in inner.actions()}
    return offered


def test_a_right_click_makes_a_reference_of_a_volume_or_a_segmentation(panel):
    import slicer

    volume, segmentation = load("023", "Patient A"), mark("023")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    menu(hierarchy().GetItemByDataNode(segmentation))["Use as Iris reference"].trigger()
    assert panel.ui.referenceSegmentationSelector.currentNode() is segmentation
    assert panel.ui.referenceVolumeSelector.currentNode() is volume, "the one that it was drawn on"
    other = load("035", "Patient B")
    menu(hierarchy().GetItemByDataNode(other))["Use as Iris reference"].trigger()
    assert panel.ui.referenceVolumeSelector.currentNode() is other
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    item = hierarchy().CreateItem(hierarchy().GetSceneItemID(), transform)
    assert not menu(item)


def test_a_right_click_on_a_study_segments_all_in_it(panel, tmp_path):
    from IrisSegmentLib.slicer import settings

    volumes = [load(case, f"Patient {name}") for case, name in (("023", "A"), ("035", "B"), ("038", "C"))]
    choose(panel, volumes[0], mark("023"))
    study = hierarchy().CreateStudyItem(hierarchy().GetSceneItemID(), "Follow-up")
    for volume in volumes[1:]:
        hierarchy().SetItemParent(hierarchy().GetItemByDataNode(volume), study)
    assert "No preset yet" in next(iter(menu(study)["Segment with Iris"]))
    encode(panel)
    panel.presets.save(settings.presetFolder() / "kept.iris")
    assert list(menu(study)["Segment with Iris"]) == ["Hippocampus", "kept"], "those in use, and those in the folder"
    menu(study)["Segment with Iris"]["kept"].trigger()
    SlicerRuntime.waitFor(lambda: not panel.logic.busy, 60)
    SlicerRuntime.processEvents(0.1)
    assert set(results()) == {"Patient B", "Patient C"}, panel.ui.statusLabel.text
    assert len(panel.logic.presets) == 2 and "2 of 2" in panel.ui.statusLabel.text


@pytest.fixture
def effect(panel):
    """The effect Iris, as the Segment Editor opens it for a segmentation of patient B."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects
    import slicer

    SlicerRuntime.loadModule(ROOT / "IrisSegment" / "SegmentEditorIris.py")
    return effects.qSlicerSegmentEditorEffectFactory().instance().effects["Iris"], slicer.vtkMRMLSegmentEditorNode()


def test_the_effect_fills_empty_segments_and_leaves_the_others(panel, effect):
    import slicer

    effect, editor = effect
    a, b = load("023", "Patient A"), load("035", "Patient B")
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    mine.SetReferenceImageGeometryParameterFromVolumeNode(b)
    slicer.mrmlScene.AddNode(editor)
    editor.SetAndObserveSegmentationNode(mine)
    editor.SetAndObserveSourceVolumeNode(b)
    effect.open(editor)
    assert not effect.self().fillButton.enabled and "no preset" in effect.self().statusLabel.text
    choose(panel, a, mark("023"))
    encode(panel)
    effect.open(editor)
    assert effect.self().presetBox.currentText == "Hippocampus"

    def click():
        effect.self().fillButton.click()
        SlicerRuntime.waitFor(lambda: not panel.logic.busy, 60)
        SlicerRuntime.processEvents(0.1)

    drawn = mine.GetSegmentation().AddEmptySegment("drawn", "Mine alone")
    block = np.zeros(slicer.util.arrayFromVolume(b).shape, np.uint8)
    block[5:30, 5:40, 5:30] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(block, mine, drawn, b)
    click()
    assert "add an empty segment named" in effect.self().statusLabel.text and effect.undoStates == 0
    for name in NAMES:
        mine.GetSegmentation().AddEmptySegment(name, name)
    click()
    assert effect.self().statusLabel.text.startswith("Filled:") and effect.undoStates == 1
    assert list(mine.GetSegmentation().GetSegmentIDs()) == ["drawn", *NAMES] and not results()
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(mine, drawn, b), block)
    mine.GetSegmentation().RemoveSegment("drawn")
    assert min(dices(mine, b, mark("035"))) > 0.5


def test_the_effect_is_cloned_for_each_editor(panel, effect):
    clone = effect[0].self().clone()
    assert clone.name == "Iris" and clone.self() is not effect[0].self()


def test_keys_do_what_buttons_do(panel):
    from PySide6 import QtCore, QtTest

    load("035", "Patient B")
    choose(panel, load("023", "Patient A"), mark("023"))
    panel.parent.show()
    panel.parent.activateWindow()
    SlicerRuntime.processEvents(0.1)
    assert "(Ctrl+Shift+E)" in panel.ui.encodeButton.toolTip
    keys, control = QtCore.Qt, QtCore.Qt.ControlModifier
    QtTest.QTest.keyClick(panel.parent, keys.Key_E, control | QtCore.Qt.ShiftModifier)
    SlicerRuntime.waitFor(lambda: panel.logic.presets and not panel.logic.busy, 60)
    QtTest.QTest.keyClick(panel.parent, keys.Key_Return, control)
    SlicerRuntime.waitFor(lambda: panel.logic.busy, 5)
    SlicerRuntime.processEvents(0.1)
    QtTest.QTest.keyClick(panel.parent, keys.Key_Backspace, control)
    SlicerRuntime.waitFor(lambda: not panel.logic.busy, 5)
    assert "Stopped" in panel.ui.statusLabel.text and not results()


def test_a_script_of_a_few_lines_does_it_all(panel, tmp_path):
    from IrisSegment import IrisSegmentLogic
    from IrisSegmentLib.errors import IrisError

    reference, target, segmentation = load("023", "A"), load("035", "B"), mark("023")
    logic = IrisSegmentLogic()
    try:
        preset = logic.makePreset(reference, segmentation, "hippocampus")
        (result,) = logic.process(preset, [target])
        assert min(dices(result, target, mark("035"))) > 0.5
        segmentation.GetSegmentation().AddEmptySegment("nothing", "nothing")
        with pytest.raises(IrisError, match="'nothing' is empty"):
            logic.makePreset(reference, segmentation, "hippocampus")
    finally:
        logic.close()
