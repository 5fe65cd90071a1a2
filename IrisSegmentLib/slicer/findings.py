"""The results in the scene, segment by segment, as a table to be reviewed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..imaging.volume import COUNTED
from .doubts import placeOfDoubt
from .segments import hasWrittenVoxels
from .tags import TAG, TARGET_ROLE, tagOf

NEW, ACCEPTED, REJECTED = "new", "accepted", "rejected"
HEAD = ("Target", "Segment", "Confidence", "Volume (mL)", "Difference (%)", "State", "Preset", "Note")
NUMBERS = HEAD[2:5]
AT_ONCE = 2_000_000  # voxels
Key = tuple[str, int, int]  # of a segment's voxels: address and time of its labelmap, and its label
TABLE_NAME = "Iris results"


@dataclass(frozen=True)
class Finding:
    """One segment of one result.

    :param confidence: 0..1; volume_ml: None while it is not counted yet.
    :param usual_ml: volume in the preset's references, or None when it does not know them.
    :param note: what else is to be known of it, in a sentence; mostly none.
    """

    nodeID: str
    segmentID: str
    target: str
    segment: str
    color: tuple[float, float, float]
    preset: str
    confidence: float
    volume_ml: float | None
    usual_ml: float | None
    state: str
    note: str = ""

    @property
    def difference(self) -> float | None:
        """From the references' volume, in percent of it; None when either is not known."""
        return 100 * (self.volume_ml / self.usual_ml - 1) if self.usual_ml and self.volume_ml is not None else None

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode:
        return slicer.mrmlScene.GetNodeByID(self.nodeID)

    @property
    def volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode:
        return self.node.GetNodeReference(TARGET_ROLE)

    @property
    def place(self) -> tuple[float, float, float] | None:
        """Where it is most in doubt: RAS in mm in the world; None when that is not known."""
        return placeOfDoubt(self.node, self.segmentID)

    def row(self) -> list[str]:
        """In the order of `HEAD`."""
        difference = "" if self.difference is None else f"{self.difference:.1f}"
        volume = "" if self.volume_ml is None else f"{self.volume_ml:.3f}"
        numbers = [f"{self.confidence:.3f}", volume, difference]
        return [self.target, self.segment, *numbers, self.state, self.preset, self.note]


class Findings:
    """Reads the findings off the scene. Volumes are as written with the result; those of corrected ones are counted:
    small ones at once, each large one when `countOne` is called, so that no one waits for them all.
    """

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}  # voxels
        self._pending: dict[Key, np.ndarray] = {}  # voxels to be counted

    def all(self) -> list[Finding]:
        """The least certain first; of the same certainty, in the scene's order."""
        found = []
        known, self._counts, self._pending = self._counts, {}, {}
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            volume = node.GetNodeReference(TARGET_ROLE)
            if volume is None:
                continue
            segmentation = node.GetSegmentation()
            for segmentID in segmentation.GetSegmentIDs():
                segment = segmentation.GetSegment(segmentID)
                if tagOf(segment, "Confidence"):
                    written = tagOf(segment, "Volume") if hasWrittenVoxels(node, segmentID) else ""
                    ml = float(written) if written else self._volume(segment, known)
                    found.append(_finding(node, volume, segmentID, ml))
        return sorted(found, key=lambda finding: finding.confidence)

    @property
    def pending(self) -> bool:
        """Whether volumes are still to be counted."""
        return bool(self._pending)

    def countOne(self) -> None:
        """Count the next of them; some 10 ms per 25 million voxels."""
        key, voxels = self._pending.popitem()
        parts = (voxels[start : start + COUNTED] == key[2] for start in range(0, len(voxels), COUNTED))
        self._counts[key] = sum(int(np.count_nonzero(part)) for part in parts)

    def _volume(self, segment: slicer.vtkSegment, known: dict[Key, int]) -> float | None:
        """In mL; None while it is not counted."""
        labelmap = segment.GetRepresentation("Binary labelmap")
        if labelmap is None or labelmap.IsEmpty():
            return 0.0
        key = (labelmap.GetAddressAsString(""), labelmap.GetMTime(), segment.GetLabelValue())
        if key in known:
            self._counts[key] = known[key]
        elif key not in self._counts:
            self._pending[key] = vtk_to_numpy(labelmap.GetPointData().GetScalars())
            if len(self._pending[key]) <= AT_ONCE:
                self.countOne()
        return float(self._counts[key] * np.prod(labelmap.GetSpacing()) / 1000) if key in self._counts else None


def _finding(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode, segmentID: str, ml: float | None
) -> Finding:
    segment = node.GetSegmentation().GetSegment(segmentID)
    usual = tagOf(segment, "UsualVolume")
    return Finding(
        node.GetID(), segmentID, volume.GetName(), segment.GetName(), segment.GetColor(), tagOf(segment, "Preset"),
        float(tagOf(segment, "Confidence")), ml, float(usual) if usual else None, tagOf(segment, "State") or NEW,
        tagOf(segment, "Note") if ml == 0 else "",  # what a person drew since is there
    )  # fmt: skip


def setState(findings: Sequence[Finding], state: str) -> None:
    """Note what a person thinks of results; it is saved with the scene."""
    for finding in findings:
        finding.node.GetSegmentation().GetSegment(finding.segmentID).SetTag(TAG + "State", state)


def showTable(findings: Sequence[Finding]) -> slicer.vtkMRMLTableNode:
    """The findings as a table node; the same one each time."""
    node = slicer.mrmlScene.GetFirstNode(TABLE_NAME, "vtkMRMLTableNode")
    node = node or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", TABLE_NAME)
    wasModifying = node.StartModify()
    node.RemoveAllColumns()
    rows = [finding.row() for finding in findings]
    for place, name in enumerate(HEAD):
        column = vtk.vtkDoubleArray() if name in NUMBERS else vtk.vtkStringArray()
        column.SetName(name)
        for row in rows:
            column.InsertNextValue(float(row[place] or "nan") if name in NUMBERS else row[place])
        node.AddColumn(column)
    node.EndModify(wasModifying)
    return node


def saveCsv(findings: Sequence[Finding], path: str | Path) -> None:
    """:raises IrisError: when the file cannot be written."""
    from ..context.preset import write_whole  # needs safetensors, which is there when there are results

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *(finding.row() for finding in findings)])
    write_whole(Path(path), text.getvalue().encode("utf-8-sig"))  # with the mark by which Excel knows UTF-8
