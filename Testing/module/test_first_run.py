"""What a person meets who has just installed it, or whose computer is not up to it."""

import sys

import SlicerRuntime
from radiologist import ROOT, choose, encode, load, mark, results, segment


def test_diagnostics_are_copied_without_any_name(panel):
    import numpy as np
    import qt

    volume, segmentation = load("023", "O'Brien^Pat"), mark("023")
    segmentation.GetSegmentation().AddEmptySegment("empty", "Lesion of O'Brien")
    choose(panel, volume, segmentation)
    panel.ui.encodeButton.click()
    SlicerRuntime.processEvents(0.1)
    assert "O'Brien" in panel.ui.statusLabel.text
    panel.ui.diagnosticsButton.click()
    text = qt.QApplication.clipboard().text()
    assert "O'Brien" not in text and "Brien" not in text and "is empty" not in text.split("Failures")[0]
    for words in ("IrisSegment ", "torch ", f"numpy {np.__version__}", "Network: bundled", "Device: auto", "Failures"):
        assert words in text
    assert "The segment '...'" in text and "copied" in panel.ui.statusLabel.text and str(ROOT) not in text


def test_a_graphics_card_that_is_too_small_is_told_of_and_the_processor_goes_on(panel, monkeypatch):
    from IrisSegmentLib.slicer import session

    card = ROOT / "Testing" / "engine" / "small_card.py"
    monkeypatch.setattr(session, "workerPython", lambda: [sys.executable, str(card), str(2**20)])
    volume, target = load("023", "A"), load("035", "B")
    choose(panel, volume, mark("023"))
    encode(panel)
    assert panel.logic.presets and "ran out of memory; the processor" in panel.ui.statusLabel.text
    segment(panel)
    assert panel.ui.statusLabel.text == "1 of 1 volumes segmented.", "said once"
    assert set(results()) == {target.GetName()}
