"""What a radiologist does with the panel: steps that the tests of the module share."""

from pathlib import Path

import SlicerRuntime

ROOT = Path(__file__).resolve().parents[1]
TERMINOLOGY = "Category~SCT^123037004^Anatomical Structure~SCT^78277001^Hippocampus~^^~Region~^^~^^"
NAMES = ("Anterior hippocampus", "Posterior hippocampus")
COLORS = ((0.9, 0.3, 0.2), (0.2, 0.5, 0.9))


def load(case, name):
    import slicer

    path = ROOT / "Resources" / "SampleCases" / "hippocampus" / f"hippocampus_{case}_image.nii.gz"
    return slicer.modules.volumes.logic().AddArchetypeVolume(str(path), name, 0)


def mark(case):
    """The manual segmentation of a sample case, named and colored as a radiologist would."""
    import slicer

    path = ROOT / "Resources" / "SampleCases" / "hippocampus" / f"hippocampus_{case}_label.nii.gz"
    node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path))
    node.SetName("Hippocampus")
    for segmentID, name, color in zip(node.GetSegmentation().GetSegmentIDs(), NAMES, COLORS, strict=True):
        segment = node.GetSegmentation().GetSegment(segmentID)
        segment.SetName(name)
        segment.SetColor(*color)
        segment.SetTerminology(TERMINOLOGY)
    return node


def choose(panel, volume, segmentation):
    panel.ui.referenceVolumeSelector.setCurrentNode(volume)
    panel.ui.referenceSegmentationSelector.setCurrentNode(segmentation)
    SlicerRuntime.processEvents(0.05)


def encode(panel):
    assert panel.ui.encodeButton.enabled, panel.ui.encodeButton.toolTip
    panel.ui.encodeButton.click()
    SlicerRuntime.waitFor(lambda: not panel.logic.busy, 60)


def segment(panel):
    assert panel.ui.segmentButton.enabled, panel.ui.segmentButton.toolTip
    panel.ui.segmentButton.click()
    SlicerRuntime.waitFor(lambda: not panel.logic.busy, 60)
    SlicerRuntime.processEvents(0.1)


def results():
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    ours = [n for n in nodes if n.GetAttribute("IrisSegment.preset")]
    return {n.GetNodeReference("IrisSegment.target").GetName(): n for n in ours}


def voxels(node):
    import slicer

    return [slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, i) for i in node.GetSegmentation().GetSegmentIDs()]


def dices(node, volume, truth):
    import slicer

    found = []
    ids = zip(node.GetSegmentation().GetSegmentIDs(), truth.GetSegmentation().GetSegmentIDs(), strict=True)
    for ours, theirs in ids:
        a = slicer.util.arrayFromSegmentBinaryLabelmap(node, ours, volume) > 0
        b = slicer.util.arrayFromSegmentBinaryLabelmap(truth, theirs, volume) > 0
        found.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    return found


def press(widget, key):
    """A key of the keyboard."""
    import qt

    for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
        qt.QCoreApplication.sendEvent(widget, qt.QKeyEvent(kind, key, qt.Qt.NoModifier))


def cells(table):
    """The texts of a table."""
    return [[table.item(r, c).text() for c in range(table.columnCount)] for r in range(table.rowCount)]
