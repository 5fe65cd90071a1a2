"""What is kept: the library of presets, as a radiologist uses it; and what a preset must not hold."""

import re

import numpy as np
import pytest
from radiologist import NAMES, ROOT, cells, choose, encode, load, mark, results, segment

SlicerRuntime = pytest.importorskip("SlicerRuntime")


def select(panel, name):
    table = panel.ui.libraryTable
    table.selectRow(next(n for n in range(table.rowCount) if table.item(n, 0).text() == name))


def names(panel):
    return [row[0] for row in cells(panel.ui.libraryTable)]


def type_name(panel, name):
    """Rename the selected preset as a person does: the button, then typing into its cell."""
    table = panel.ui.libraryTable
    panel.ui.renameButton.click()
    table.item(table.currentRow(), 0).setText(name)


def drop(widget, path):
    """Drag a file over a widget and let go; whether it was taken."""
    import qt

    data = qt.QMimeData()
    data.setUrls([qt.QUrl.fromLocalFile(str(path))])
    held = (qt.Qt.CopyAction, data, qt.Qt.LeftButton, qt.Qt.NoModifier)
    enter = qt.QDragEnterEvent(qt.QPoint(5, 5), *held)
    enter.ignore()
    qt.QCoreApplication.sendEvent(widget, enter)
    if enter.isAccepted():
        qt.QCoreApplication.sendEvent(widget, qt.QDropEvent(qt.QPointF(5, 5), *held))
    return enter.isAccepted()


def test_presets_are_kept_found_renamed_copied_deleted_and_brought_back(panel, tmp_path):
    ui = panel.ui
    ui.librarySection.collapsed = False
    assert not ui.keepButton.enabled and "Select a preset" in ui.useButton.toolTip
    choose(panel, load("023", "A"), mark("023"))
    encode(panel)
    ui.keepButton.click()
    assert names(panel) == ["Hippocampus"] and "kept in your library" in ui.statusLabel.text
    ui.duplicateButton.click()
    assert names(panel) == ["Hippocampus", "Hippocampus 2"]
    type_name(panel, "Left side")
    assert names(panel) == ["Hippocampus", "Left side"] and panel.library.current().preset.name == "Left side"
    type_name(panel, "   ")
    assert names(panel) == ["Hippocampus", "Left side"] and "needs a name" in ui.statusLabel.text
    ui.notesEdit.text = "T1 only"
    ui.notesEdit.editingFinished.emit()
    ui.searchEdit.text = "t1 left"
    assert names(panel) == ["Left side"]
    ui.searchEdit.text = "posterior"
    assert names(panel) == ["Hippocampus", "Left side"]

    select(panel, "Left side")
    assert ui.notesEdit.text == "T1 only"
    panel.library.give(tmp_path / "sent.iris")
    ui.deleteButton.click()
    assert names(panel) == ["Hippocampus"] and not (panel.library.current())
    ui.undoDeleteButton.click()
    assert names(panel) == ["Hippocampus", "Left side"] and not ui.undoDeleteButton.enabled

    (tmp_path / "bad.iris").write_bytes(b"no preset")
    assert drop(panel.parent, tmp_path / "bad.iris") and "'bad.iris' is not a preset" in ui.statusLabel.text
    assert not drop(panel.parent, tmp_path / "picture.png")
    ui.deleteButton.click()
    assert drop(panel.parent, tmp_path / "sent.iris")
    assert "Left side" in names(panel)

    fresh = SlicerRuntime.loadModule(ROOT / "IrisSegment" / "IrisSegment.py")
    fresh.ui.librarySection.collapsed = True
    fresh.ui.librarySection.collapsed = False
    assert names(fresh) == names(panel), "another day"
    select(fresh, "Left side")
    fresh.ui.useButton.click()
    load("035", "B")
    SlicerRuntime.processEvents(0.05)
    segment(fresh)
    assert "B" in results() and [p.name for p in fresh.logic.presets] == ["Left side"]
    fresh.cleanup()


def test_the_preset_that_suits_a_volume_is_suggested(panel, samples):
    import slicer

    ui = panel.ui
    ui.librarySection.collapsed = False
    choose(panel, load("023", "A"), mark("023"))
    encode(panel)
    ui.keepButton.click()
    sarcoma = samples / "sarcoma_pet"
    scan = slicer.modules.volumes.logic().AddArchetypeVolume(str(sarcoma / "STS_016_image.nii.gz"), "PET", 0)
    drawn = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(sarcoma / "STS_016_label.nii.gz"))
    drawn.SetName("Sarcoma")
    choose(panel, scan, drawn)
    encode(panel)
    ui.keepButton.click()
    for name, case in (("Hippocampus", load("035", "brain")), ("Sarcoma", scan)):
        assert not ui.suggestButton.enabled or name == "Sarcoma"
        ui.suggestVolumeSelector.setCurrentNode(case)
        ui.suggestButton.click()
        SlicerRuntime.waitFor(lambda: not panel.logic.busy, 60)
        SlicerRuntime.processEvents(0.05)
        assert names(panel)[0] == name and f"'{name}' suits" in ui.statusLabel.text, cells(ui.libraryTable)
        assert [row[2] for row in cells(ui.libraryTable)] == ["1", "2"]
        assert "coarser" in ui.libraryTable.item(1, 0).toolTip() or "finer" in ui.libraryTable.item(1, 0).toolTip()


def test_presets_outlive_a_reload(panel, library_modules):
    import slicer

    choose(panel, load("023", "A"), mark("023"))
    encode(panel)
    panel.onReload()
    fresh = slicer.modules.IrisSegmentWidget
    try:
        assert fresh is not panel and [p.name for p in fresh.logic.presets] == ["Hippocampus"]
        assert fresh.ui.referencesList.item(0).text() == "Reference 1: A"
        load("035", "B")
        SlicerRuntime.processEvents(0.05)
        segment(fresh)
        assert "B" in results()
    finally:
        fresh.cleanup()


def test_a_preset_holds_no_patient_no_path_and_no_image(panel, tmp_path):
    """Everything that names a patient is put where a careless person or a scanner would put it."""
    import slicer

    volume, marked = load("023", "DOE^JANE 1.2.840.113619.2.55.3"), mark("023")
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.840.113619.2.55.3.99")
    marked.SetName("Hippocampus of DOE^JANE from /home/doe/scans 1.2.840.113619.2.55.3")
    choose(panel, volume, marked)
    encode(panel)
    panel.ui.librarySection.collapsed = False
    panel.ui.keepButton.click()
    panel.ui.notesEdit.text = "seen with DOE^JANE, C:\\scans\\doe"
    panel.ui.notesEdit.editingFinished.emit()
    (path,) = panel.library._library().paths()
    content = path.read_bytes()
    for told in (b"DOE", b"JANE", b"doe", b"1.2.840", b"/home", b"scans", b"hippocampus_023", b"nii"):
        assert told not in content + path.name.encode(), told
    assert b"Hippocampus of from" in content and all(name.encode() in content for name in NAMES)
    image = slicer.util.arrayFromVolume(volume)
    rows = [row for row in image[::5, ::5].reshape(-1, image.shape[2]) if np.unique(row).size > 8]
    kinds = (image.dtype, np.int16, np.float32, np.float16)
    assert len(rows) > 30 and not any(row.astype(kind).tobytes() in content for row in rows for kind in kinds)
    assert not re.search(rb"\d{1,3}(\.\d+){4,}", content)


def chart():
    """Series of the chart, by name: node and points."""
    import slicer

    (node,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    series = [node.GetNthPlotSeriesNode(n) for n in range(node.GetNumberOfPlotSeriesNodes())]
    tables = [one.GetTableNode().GetTable() for one in series]
    points = [[(t.GetValueByName(r, "x").ToDouble(), t.GetValueByName(r, "y").ToDouble())
               for r in range(t.GetNumberOfRows())] for t in tables]
    return {one.GetName(): (one, found) for one, found in zip(series, points, strict=True)}


def test_classes_that_are_alike_lie_together_on_the_map_and_a_click_selects(panel):
    import vtk

    from IrisSegmentLib.slicer.plots import selected

    ui = panel.ui
    ui.librarySection.collapsed = False
    assert "preset first" in ui.mapButton.toolTip
    for name, case in (("A", "023"), ("B", "035")):
        choose(panel, load(case, name), mark(case))
        ui.presetNameEdit.text = name
        encode(panel)
    ui.keepButton.click()
    panel.presets.remove()
    assert [p.name for p in panel.logic.presets] == ["A"] and names(panel) == ["B"]
    ui.mapButton.click()
    ui.mapButton.click()  # once more: nothing is drawn twice
    found = chart()
    assert list(found) == [f"{segment} ({preset})" for preset in "AB" for segment in NAMES]
    (front_a, back_a, front_b, back_b) = (np.array(points[0]) for _, points in found.values())
    apart = min(np.linalg.norm(front - back) for front in (front_a, front_b) for back in (back_a, back_b))
    assert max(np.linalg.norm(front_a - front_b), np.linalg.norm(back_a - back_b)) < apart
    rows = cells(ui.mapTable)
    assert [row[0] for row in rows] == [*NAMES, *NAMES] and rows[0][2].startswith(f"{NAMES[0]}, B 1")
    assert found[f"{NAMES[0]} (A)"][0].GetMarkerStyle() != found[f"{NAMES[0]} (B)"][0].GetMarkerStyle()

    ui.mapTable.selectRow(3)
    assert panel.library.current().preset.name == "B"
    series, points, number = vtk.vtkStringArray(), vtk.vtkCollection(), vtk.vtkIdTypeArray()
    number.InsertNextValue(0)
    series.InsertNextValue(found[f"{NAMES[0]} (A)"][0].GetID())
    points.AddItem(number)
    selected(series, points, panel.atlas._onPoint)  # what a plot view sends; there is none without Slicer's window
    assert panel.presets.current().name == "A" and ui.mapTable.currentRow() == 0


def test_a_target_that_a_preset_may_not_suit_is_told_before_it_is_segmented(panel, samples):
    import slicer

    label = panel.ui.fitLabel

    def shown():
        SlicerRuntime.processEvents(0.2)
        return label.text if label.isVisibleTo(panel.ui.presetsSection) else ""

    choose(panel, load("023", "A"), mark("023"))
    encode(panel)
    load("035", "B")
    assert shown() == ""
    path = samples / "sarcoma_pet" / "STS_016_image.nii.gz"
    other = slicer.modules.volumes.logic().AddArchetypeVolume(str(path), "PET", 0)
    assert "1 of the ticked targets may come out poorly. PET: Its voxels are" in shown() and "coarser" in shown()
    slicer.util.arrayFromVolume(other)[...] = np.linspace(-1000, 500, 30).astype(np.int16).repeat(1)[0]
    slicer.util.arrayFromVolumeModified(other)
    panel.targets.show()
    assert "The target is CT, the references are MR or PET" in shown()
    panel.targets.tickOnly([slicer.util.getNode("B")])
    panel.targets.show()
    assert shown() == ""
