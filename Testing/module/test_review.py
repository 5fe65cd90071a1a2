"""Review and correction as a radiologist does them: real buttons and keys, the real scene, the real worker."""

import csv

import numpy as np
import pytest
from radiologist import NAMES, cells, choose, encode, load, mark, press, results, segment

SlicerRuntime = pytest.importorskip("SlicerRuntime")


@pytest.fixture
def views(panel):
    from SlicerRuntime.views import SliceView

    return [SliceView("Red", "Axial", (200, 200)), SliceView("Green", "Coronal", (200, 200))]


def segmented(panel, *cases):
    """Patient 023 marked, the others segmented."""
    volumes = [load(case, f"Patient {case}") for case in ("023", *cases)]
    choose(panel, volumes[0], mark("023"))
    encode(panel)
    segment(panel)
    return volumes


def test_results_are_gone_through_by_arrow_keys_and_judged(panel, views, tmp_path):
    import qt
    import slicer

    table = panel.ui.reviewTable
    assert not panel.ui.acceptButton.enabled and "no results yet" in panel.ui.csvButton.toolTip
    segmented(panel, "035", "038")
    rows = cells(table)
    assert {(r[0], r[1]) for r in rows} == {(f"Patient {c}", n) for c in ("035", "038") for n in NAMES}
    sure = [f.confidence for f in panel.review.findings]
    assert sure == sorted(sure) and 0 < sure[0] < sure[-1] <= 1
    assert all(float(r[3]) > 0 and abs(float(r[4])) < 100 and r[5] == "new" for r in rows), rows

    table.setCurrentCell(0, 0)
    seen = []
    for _ in range(len(rows)):
        finding = panel.review.current()
        composite = views[0]._logic.GetSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == finding.volumeNode.GetID()
        place = finding.place
        assert abs(views[0].node.GetSliceOffset() - place[2]) < 0.01, "the axial view is at its height"
        assert abs(views[1].node.GetSliceOffset() - place[1]) < 0.01
        bounds = np.zeros(6)
        finding.volumeNode.GetRASBounds(bounds)
        assert all(bounds[2 * n] <= place[n] <= bounds[2 * n + 1] for n in range(3))
        shown = [n for n in results().values() if n.GetDisplayNode().GetVisibility()]
        assert shown == [finding.node]
        seen.append((finding.target, finding.segment))
        press(table, qt.Qt.Key_Down)
    assert seen == [(r[0], r[1]) for r in rows]

    table.setCurrentCell(0, 0)
    panel.ui.doubtCheckBox.click()
    overlay = slicer.mrmlScene.GetNodeByID(views[0]._logic.GetSliceCompositeNode().GetForegroundVolumeID())
    values = slicer.util.arrayFromVolume(overlay)
    assert values.max() > 200 and (values < 20).mean() > 0.5 and overlay.GetHideFromEditors()
    assert [r for r in range(panel.ui.targetsTable.rowCount)] == [0, 1, 2], "no list of volumes shows it"
    press(table, qt.Qt.Key_Down)
    panel.ui.doubtCheckBox.click()
    assert views[0]._logic.GetSliceCompositeNode().GetForegroundVolumeID() is None

    table.selectRow(0)
    panel.ui.acceptButton.click()
    assert table.currentRow() == 1, "the next one is shown"
    panel.ui.rejectButton.click()
    assert [r[5] for r in cells(table)][:3] == ["accepted", "rejected", "new"]

    panel.ui.tableNodeButton.click()
    panel.ui.tableNodeButton.click()
    (node,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert node.GetNumberOfRows() == 4 and node.GetCellText(0, node.GetColumnIndex("State")) == "accepted"
    assert float(node.GetCellText(0, node.GetColumnIndex("Confidence"))) == pytest.approx(sure[0], abs=1e-3)
    panel.review.saveCsv(tmp_path / "results.csv")
    with open(tmp_path / "results.csv", encoding="utf-8-sig") as file:
        written = list(csv.DictReader(file))
    assert [r["State"] for r in written] == ["accepted", "rejected", "new", "new"]
    assert [r["Target"] for r in written] == [r[0] for r in rows]

    table.selectRow(2)
    panel.ui.editButton.click()
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    finding = panel.review.selected()[0]
    assert editor.GetSegmentationNode() is finding.node and editor.GetSourceVolumeNode() is finding.volumeNode
    assert editor.GetSelectedSegmentID() == finding.segmentID

    slicer.mrmlScene.Clear(False)
    SlicerRuntime.processEvents(0.1)
    assert table.rowCount == 0 and not panel.ui.acceptButton.enabled
