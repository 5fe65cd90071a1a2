"""The targets: found, ticked, stopped one by one; frames of a sequence, a region, a segmentation of one's own."""

import time
from dataclasses import replace

import numpy as np
import SlicerRuntime
from radiologist import NAMES, ROOT, choose, dices, encode, load, mark, results, segment, voxels


def cell(panel, row, column):
    return panel.ui.targetsTable.item(row, column).text()


def shown(panel):
    """Names of the rows that are shown, with whether they are ticked."""
    table, column = panel.ui.targetsTable, panel.targets.VOLUME
    items = [table.item(row, column) for row in range(table.rowCount) if not table.isRowHidden(row)]
    return [(item.text(), item.checkState() == item.checkState().Checked) for item in items]


def three(panel):
    volumes = [load(case, f"Patient {name}") for case, name in (("023", "A"), ("035", "B"), ("038", "C"))]
    choose(panel, volumes[0], mark("023"))
    return volumes


def test_targets_are_found_by_name_modality_and_study(panel):
    import slicer

    volumes = three(panel)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe")
    study = hierarchy.CreateStudyItem(patient, "Follow-up")
    item = hierarchy.GetItemByDataNode(volumes[2])
    hierarchy.SetItemParent(item, study)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    panel.targets.show()
    find = panel.ui.targetFilterEdit
    for words, found in (("patient b", "B"), ("mr", "C"), ("follow doe", "C"), ("mr doe patient", "C")):
        find.text = words
        assert [name for name, ticked in shown(panel)] == [f"Patient {found}"], words
    find.text = "nothing like it"
    assert (not shown(panel) and "Tick at least one" in panel.ui.segmentButton.toolTip) or not panel.logic.presets
    find.text = "patient c"
    panel.ui.tickNoneButton.click()
    find.text = ""
    assert shown(panel) == [("Patient A", False), ("Patient B", True), ("Patient C", False)], "only what was shown"
    panel.ui.tickOthersButton.click()
    assert shown(panel) == [("Patient A", False), ("Patient B", True), ("Patient C", True)]


def test_what_is_done_is_marked_and_only_the_rest_is_ticked(panel):
    import slicer

    volumes = three(panel)
    encode(panel)
    panel.ui.targetFilterEdit.text = "Patient B"
    segment(panel)
    panel.ui.targetFilterEdit.text = ""
    assert set(results()) == {"Patient B"}, "what the filter hides is not segmented"
    panel.ui.tickNewButton.click()
    assert shown(panel) == [("Patient A", False), ("Patient B", False), ("Patient C", True)]
    panel.targets.forget()
    panel.targets.show()
    assert cell(panel, 1, panel.targets.STATE) == "done", "known from the scene, as after loading it"
    panel.ui.presetNameEdit.text = "other"
    SlicerRuntime.processEvents(0.05)
    encode(panel)
    assert cell(panel, 1, panel.targets.STATE) == "", "by this preset nothing is done"
    panel.ui.presetsList.setCurrentRow(0)
    assert cell(panel, 1, panel.targets.STATE) == "done"
    slicer.mrmlScene.RemoveNode(results()["Patient B"])
    SlicerRuntime.processEvents(0.05)
    assert cell(panel, 1, panel.targets.STATE) == "" and len(volumes) == 3


def test_one_target_is_stopped_and_the_others_go_on(panel):
    three(panel)
    encode(panel)
    table, columns = panel.ui.targetsTable, panel.targets
    assert table.cellWidget(2, columns.STOP) is None
    panel.ui.segmentButton.click()
    assert [cell(panel, row, columns.STATE) for row in (1, 2)] == ["waiting", "waiting"]
    started = time.monotonic()
    table.cellWidget(2, columns.STOP).click()
    assert cell(panel, 2, columns.STATE) == "stopped" and time.monotonic() - started < 1
    seen = set()
    SlicerRuntime.waitFor(lambda: seen.add(cell(panel, 1, columns.RESULT)) or not panel.logic.busy, 60)
    SlicerRuntime.processEvents(0.1)
    assert any(words.endswith("%") or words.endswith("left") for words in seen), seen
    assert set(results()) == {"Patient B"} and panel.ui.statusLabel.text == "1 of 2 volumes segmented, 1 stopped."
    assert cell(panel, 1, columns.STATE) == "done" and table.cellWidget(1, columns.STOP) is None


def addSequence(cases, name):
    """A 4D scan of several cases, with a browser; returns it and the volume that shows its current frame."""
    import slicer

    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    for number, case in enumerate(cases):
        frame = load(case, name)
        sequence.SetDataNodeAtValue(frame, str(number))
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return sequence, browser


def test_a_sequence_is_segmented_frame_by_frame_and_browsed_in_step(panel):
    import slicer

    reference = load("023", "Patient A")
    sequence, browser = addSequence(("035", "038", "048"), "Cine")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    browser.GetProxyNode(sequence).SetAndObserveTransformNodeID(transform.GetID())
    choose(panel, reference, mark("023"))
    assert shown(panel) == [("Patient A", False), ("Cine", False), ("Cine (3 frames)", True)]
    encode(panel)
    segment(panel)
    columns = panel.targets
    assert (cell(panel, 2, columns.STATE), cell(panel, 2, columns.RESULT)) == ("done", "3 frames")
    found = [n for n in slicer.util.getNodesByClass("vtkMRMLSequenceNode") if n is not sequence]
    assert len(found) == 1 and found[0].GetNumberOfDataNodes() == 3
    shownNow = browser.GetProxyNode(found[0])
    assert shownNow.GetTransformNodeID() == transform.GetID()
    volume = browser.GetProxyNode(sequence)
    assert shownNow.GetNodeReference(shownNow.GetReferenceImageGeometryReferenceRole()) is volume
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4)))
    for number, case in enumerate(("035", "038", "048")):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        truth = mark(case)
        truth.SetAndObserveTransformNodeID(transform.GetID())
        assert min(dices(shownNow, volume, truth)) > 0.5, case
    segmentation = shownNow.GetSegmentation()
    assert tuple(segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()) == NAMES
    segment(panel)
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == 2, "a rerun replaces its own"


def test_nothing_outside_a_region_is_segmented(panel):
    import slicer

    three(panel)
    encode(panel)
    panel.ui.targetFilterEdit.text = "Patient B"
    segment(panel)
    whole = results()["Patient B"]
    bounds = [0.0] * 6
    whole.GetRASBounds(bounds)
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    middle = [(bounds[2 * n] + bounds[2 * n + 1]) / 2 for n in range(3)]
    region.SetCenter(*middle)
    region.SetSize(200, bounds[3] - bounds[2], 200)
    region.SetCenter(middle[0], bounds[3], middle[2])  # the front half
    panel.ui.regionSelector.setCurrentNode(region)
    segment(panel)
    cut = results()["Patient B"]
    assert cut is whole and any(v.any() for v in voxels(cut))
    cutBounds = [0.0] * 6
    cut.GetRASBounds(cutBounds)
    assert cutBounds[2] >= middle[1] - 1.5 and cutBounds[3] > middle[1]
    region.SetCenter(900, 0, 0)
    segment(panel)
    assert "does not meet 'Patient B'" in panel.ui.statusLabel.text


def test_segments_are_added_to_ones_own_and_one_click_takes_them_back(panel):
    import slicer

    volumes = three(panel)
    encode(panel)
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    mine.SetReferenceImageGeometryParameterFromVolumeNode(volumes[1])
    drawn = mine.GetSegmentation().AddEmptySegment("drawn", NAMES[1])
    mine.GetSegmentation().AddEmptySegment("empty", NAMES[0])
    block = np.zeros(slicer.util.arrayFromVolume(volumes[1]).shape, np.uint8)
    block[5:30, 5:40, 5:30] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(block, mine, drawn, volumes[1])
    panel.ui.destinationSelector.setCurrentNode(mine)
    assert "Tick one volume only" in panel.ui.segmentButton.toolTip and not panel.ui.undoAdditionButton.enabled
    panel.ui.targetFilterEdit.text = "Patient B"
    segment(panel)
    segmentation = mine.GetSegmentation()

    def now():
        return {
            segmentation.GetSegment(i).GetName(): slicer.util.arrayFromSegmentBinaryLabelmap(mine, i, volumes[1])
            for i in segmentation.GetSegmentIDs()
        }

    assert not results() and list(now()) == [NAMES[1], NAMES[0], f"{NAMES[1]} 2"]
    assert np.array_equal(now()[NAMES[1]], block), "what a person drew stays, though the new ones lie inside it"
    assert now()[NAMES[0]].any() and now()[f"{NAMES[1]} 2"].any()
    assert panel.ui.reviewTable.rowCount == 2, "what was added is reviewed, what a person drew is not"
    panel.ui.undoAdditionButton.click()
    assert panel.ui.reviewTable.rowCount == 0
    assert list(now()) == [NAMES[1], NAMES[0]] and np.array_equal(now()[NAMES[1]], block)
    assert not now()[NAMES[0]].any() and not panel.ui.undoAdditionButton.enabled
    mine.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    segment(panel)
    assert "'Mine' lies under another transform" in panel.ui.statusLabel.text


def test_the_strategy_is_heeded_and_written_into_the_result(panel, tmp_path):
    from IrisSegmentLib.context.pool import Pool
    from IrisSegmentLib.engine import Engine
    from IrisSegmentLib.evaluation.dataset import LabelledSet
    from IrisSegmentLib.imaging.window import PREPROCESSING

    volumes = three(panel)
    encode(panel)
    choose(panel, volumes[1], mark("035"))
    panel.ui.addReferenceButton.click()
    SlicerRuntime.waitFor(lambda: not panel.logic.busy, 60)
    panel.ui.targetFilterEdit.text = "Patient C"
    box, found = panel.ui.strategyBox, {}
    for row, strategy in enumerate(("ensemble", "one-shot")):
        box.setCurrentIndex(row)
        segment(panel)
        node = results()["Patient C"]
        found[strategy] = voxels(node)
        segmentID = node.GetSegmentation().GetSegmentIDs()[0]
        assert tag(node, segmentID, "Strategy") == strategy and tag(node, segmentID, "References") == "2"
    assert not all(map(np.array_equal, found["ensemble"], found["one-shot"]))
    box.setCurrentIndex(2)
    assert "Choose a pool" in panel.ui.segmentButton.toolTip and panel.ui.sourceButton.enabled
    engine = Engine(None, "cpu")
    pool = Pool(engine.network.hash, PREPROCESSING)
    labelled = LabelledSet.read(ROOT / "Resources" / "SampleCases" / "hippocampus")
    for case in [*labelled.cases["train"], *labelled.cases["test"]][:3]:
        label = labelled.label(case)
        engine.add(pool, labelled.image(case), renamed(label))
    pool.save(tmp_path / "three.irispool")
    panel.strategy.useFile(tmp_path / "three.irispool")
    segment(panel)
    assert panel.ui.sourceButton.text == "three.irispool" and "1 of 1" in panel.ui.statusLabel.text
    node = results()["Patient C"]
    assert tag(node, node.GetSegmentation().GetSegmentIDs()[0], "Strategy") == "object-retrieval"


def tag(node, segmentID, name):
    import vtk

    told = vtk.reference("")
    node.GetSegmentation().GetSegment(segmentID).GetTag(f"IrisSegment.{name}", told)
    return str(told)


def renamed(label):
    """With the names that a radiologist gave."""
    return replace(label, segments=tuple(replace(s, name=n) for s, n in zip(label.segments, NAMES, strict=True)))
