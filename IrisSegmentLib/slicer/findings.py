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

from .doubts import placeOfDoubt
from .tags import TAG, TARGET_ROLE, tagOf, voxelTime

NEW, ACCEPTED, REJECTED = "new", "accepted", "rejected"
HEAD = ("Target", "Segment", "Confidence", "Volume (mL)", "Difference (%)", "State", "Preset")
NUMBERS = HEAD[2:5]
TABLE_NAME = "Iris results"


@dataclass(frozen=True)
class Finding:
    """One segment of one result.

    :param confidence: 0..1; usual_ml: volume in the preset's references, or None when it does not know them.
    """

    nodeID: str
    segmentID: str
    target: str
    segment: str
    color: tuple[float, float, float]
    preset: str
    confidence: float
    volume_ml: float
    usual_ml: float | None
    state: str

    @property
    def difference(self) -> float | None:
        """From the references' volume, in percent of it; None when they are not known."""
        return 100 * (self.volume_ml / self.usual_ml - 1) if self.usual_ml else None

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
        numbers = [f"{self.confidence:.3f}", f"{self.volume_ml:.3f}", difference]
        return [self.target, self.segment, *numbers, self.state, self.preset]


class Findings:
    """Reads the findings off the scene; volumes are counted again only where voxels were changed."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], np.ndarray] = {}  # by address and time of a labelmap

    def all(self) -> list[Finding]:
        """The least certain first; of the same certainty, in the scene's order."""
        found, counts = [], {}
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            volume = node.GetNodeReference(TARGET_ROLE)
            if volume is None:
                continue
            segmentation = node.GetSegmentation()
            asWritten = node.GetAttribute(TAG + "time") == voxelTime(node)
            for segmentID in segmentation.GetSegmentIDs():
                segment = segmentation.GetSegment(segmentID)
                if tagOf(segment, "Confidence"):
                    known = tagOf(segment, "Volume") if asWritten else ""
                    ml = float(known) if known else self._counted(segment, counts)
                    found.append(_finding(node, volume, segmentID, ml))
        self._counts = counts
        return sorted(found, key=lambda finding: finding.confidence)

    def _counted(self, segment: slicer.vtkSegment, counts: dict[tuple[str, int], np.ndarray]) -> float:
        labelmap = segment.GetRepresentation("Binary labelmap")
        if labelmap is None or labelmap.IsEmpty():
            return 0.0
        key = (labelmap.GetAddressAsString(""), labelmap.GetMTime())
        if key not in counts:
            known = self._counts.get(key)
            scalars = vtk_to_numpy(labelmap.GetPointData().GetScalars())
            counts[key] = np.bincount(scalars.ravel()) if known is None else known
        label = segment.GetLabelValue()
        voxels = counts[key][label] if label < len(counts[key]) else 0
        return float(voxels * np.prod(labelmap.GetSpacing()) / 1000)


def _finding(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode, segmentID: str, ml: float
) -> Finding:
    segment = node.GetSegmentation().GetSegment(segmentID)
    usual = tagOf(segment, "UsualVolume")
    return Finding(
        node.GetID(), segmentID, volume.GetName(), segment.GetName(), segment.GetColor(), tagOf(segment, "Preset"),
        float(tagOf(segment, "Confidence")), ml, float(usual) if usual else None, tagOf(segment, "State") or NEW,
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
    from ..context.preset import write_whole  # needs torch, which is there when there are results

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *(finding.row() for finding in findings)])
    write_whole(Path(path), text.getvalue().encode("utf-8-sig"))  # with the mark by which Excel knows UTF-8
