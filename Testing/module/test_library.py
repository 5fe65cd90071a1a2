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
        assert names(panel)[0] == name and f"'{name}' resembles" in ui.statusLabel.text, cells(ui.libraryTable)
        match = [int(row[2]) for row in cells(ui.libraryTable)]
        assert match[0] > match[1], match


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
    image = np.ascontiguousarray(panel_array(volume))
    lines = {image[k, j].astype(kind).tobytes() for k in range(0, image.shape[0], 5) for j in range(0, image.shape[1], 5)
             for kind in (image.dtype, np.float32, np.float16) if np.unique(image[k, j]).size > 8}
    assert len(lines) > 50 and not any(line in content for line in lines), "no row of voxels, in any format"
    assert not re.search(rb"\d{1,3}(\.\d+){4,}", content)


def panel_array(volume):
    import slicer

    return slicer.util.arrayFromVolume(volume)
