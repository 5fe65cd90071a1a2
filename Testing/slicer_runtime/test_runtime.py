"""The test equipment is tested too: it must refuse what PythonQt would refuse, and the scene must be the real one."""

import sys
import time

import numpy as np
import pytest

SlicerRuntime = pytest.importorskip("SlicerRuntime")
pytest.importorskip("vtk")


@pytest.fixture(scope="session", autouse=True)
def runtime():
    return SlicerRuntime.start()


def test_properties_are_attributes_and_unknown_ones_are_refused():
    import qt

    label = qt.QLabel()
    label.text = "liver"
    label.name = "organ"
    assert label.text == "liver" and label.objectName == "organ" and label.enabled is True
    with pytest.raises(AttributeError):
        label.txt = "typo"
    with pytest.raises(AttributeError):
        _ = label.txt
    with pytest.raises(TypeError):
        label.text()


def test_signals_connect_by_signature_and_unknown_ones_are_refused():
    import qt

    heard = []
    button = qt.QPushButton()
    button.connect("clicked(bool)", lambda: heard.append("none taken"))
    button.connect("clicked(bool)", heard.append)
    button.click()
    assert heard == ["none taken", False]
    for signature in ("clickd(bool)", "clicked(QString)"):
        with pytest.raises(ValueError, match="no signal"):
            button.connect(signature, print)
    button.disconnect("clicked(bool)", heard.append)


def test_later_calls_take_any_kind_of_function():
    import qt

    heard = []
    qt.QTimer.singleShot(0, heard.clear)
    qt.QTimer.singleShot(20, lambda: heard.append("lambda"))
    qt.QTimer.singleShot(30, heard.sort)
    SlicerRuntime.waitFor(lambda: heard, 5)
    assert heard == ["lambda"]


def test_what_is_put_into_a_folded_section_is_hidden_until_it_is_unfolded():
    import ctk
    import qt

    section = ctk.ctkCollapsibleButton()
    section.collapsed = True
    layout, label, other = qt.QVBoxLayout(), qt.QLabel("inside"), qt.QLabel("not needed")
    section.setLayout(layout)
    layout.addWidget(label)
    layout.addWidget(other)
    section.show()
    assert not label.visible and not other.visible
    other.setVisible(False)
    section.collapsed = False
    assert label.visible and not other.visible, "it was hidden by itself"
    section.collapsed = True
    other.setVisible(True)
    assert not other.visible
    section.collapsed = False
    assert label.visible and other.visible
    section.hide()


def test_processing_events_takes_nothing_from_none():
    """PySide6 6.12 loses a reference of None at each call; the runtime must not, or long tests crash."""
    import slicer

    before = sys.getrefcount(None)
    for _ in range(2000):
        slicer.app.processEvents()
    assert abs(sys.getrefcount(None) - before) < 500


def test_a_process_talks_without_blocking():
    import qt

    process, heard = qt.QProcess(), []
    process.connect("readyReadStandardOutput()", lambda: heard.append(process.readAllStandardOutput().data()))
    process.start(sys.executable, ["-c", "print(input()[::-1])"])
    process.write(b"hello\n")
    SlicerRuntime.waitFor(lambda: heard, 10)
    assert b"".join(heard).strip() == b"olleh"
    process.waitForFinished(2000)


def test_the_watch_hears_when_the_loop_is_held():
    with SlicerRuntime.EventLoopWatch() as watch:
        SlicerRuntime.processEvents(0.1)
    calm = watch.longest_ms
    with SlicerRuntime.EventLoopWatch() as watch:
        SlicerRuntime.processEvents(0.05)
        time.sleep(0.12)
        SlicerRuntime.processEvents(0.05)
    assert watch.longest_ms > 90 > calm


def test_the_watch_does_not_hear_itself(monkeypatch):
    """It reads a file for each thread, and where another thread computes in Python it waits for the lock at each."""
    monkeypatch.setattr(SlicerRuntime, "_queued", lambda thread: time.sleep(0.06) or 0.0)
    with SlicerRuntime.EventLoopWatch() as watch:
        SlicerRuntime.processEvents(1.0)
    assert watch.longest_ms < 50


def test_only_what_other_programs_took_is_left_out():
    clocks = SlicerRuntime._Clocks
    before = clocks(5.0, 1.0, 2.0, 3.0)
    assert clocks(5.11, 1.1, 2.0, 3.1).held_since(before) == pytest.approx(0.1), "it worked, whoever else waited"
    assert clocks(5.11, 1.0, 2.0, 3.0).held_since(before) == pytest.approx(0.1), "it waited for one that worked"
    assert clocks(5.11, 1.0, 2.0, 3.1).held_since(before) == pytest.approx(0.0), "it waited for one that was kept"
    assert clocks(5.11, 1.04, 2.0, 3.5).held_since(before) == pytest.approx(0.04)
    assert clocks(5.11, 1.0, 2.1, 3.0).held_since(before) == pytest.approx(0.0), "it was kept itself"


def test_a_panel_with_an_unknown_widget_is_refused(tmp_path):
    import slicer

    (tmp_path / "x.ui").write_text('<ui version="4.0"><widget class="ctkNoSuchWidget" name="x"/></ui>')
    with pytest.raises(ValueError, match="ctkNoSuchWidget"):
        slicer.util.loadUI(str(tmp_path / "x.ui"))


def test_a_node_combo_box_follows_the_scene():
    import slicer

    slicer.mrmlScene.Clear(False)
    box, heard = slicer.qMRMLNodeComboBox(), []
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.noneEnabled = True
    box.setMRMLScene(slicer.mrmlScene)
    box.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    box.setCurrentNode(node)
    assert box.currentNode() is node and heard[-1] is node
    slicer.mrmlScene.RemoveNode(node)
    assert box.currentNode() is None


def test_a_slice_view_shows_the_image_and_the_segment(samples, tmp_path):
    import slicer
    from SlicerRuntime.views import SliceView

    slicer.mrmlScene.Clear(False)
    folder = samples / "hippocampus"
    volume = slicer.util.loadVolume(str(folder / "hippocampus_023_image.nii.gz"))
    segmentation = slicer.util.loadSegmentation(str(folder / "hippocampus_023_label.nii.gz"))
    for segmentID in segmentation.GetSegmentation().GetSegmentIDs():
        segmentation.GetSegmentation().GetSegment(segmentID).SetColor(1, 0, 0)
    bounds = [0.0] * 6
    segmentation.GetRASBounds(bounds)
    center = tuple((bounds[2 * n] + bounds[2 * n + 1]) / 2 for n in range(3))
    view = SliceView("Picture", "Axial", (200, 200))  # the panel's tests have views of the usual names
    view.show(volume, set(), center)
    plain = view.pixels().copy()
    view.show(volume, {segmentation}, center)
    overlaid = view.pixels()
    red = (overlaid[..., 0] > 200) & (overlaid[..., 1] < 60)
    assert plain.std() > 20 and red.sum() > 30
    assert np.array_equal(plain[..., 0], plain[..., 1]), "the image alone is gray"
    view.save(tmp_path / "slice.png")
    assert (tmp_path / "slice.png").stat().st_size > 500
