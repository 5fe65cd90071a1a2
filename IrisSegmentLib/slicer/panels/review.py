"""The section where results are looked through, the least certain first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..doubts import doubtVolume, removeOrphans
from ..editor import openInSegmentEditor
from ..findings import ACCEPTED, NEW, REJECTED, Finding, Findings, saveCsv, setState, showTable
from ..sliceviews import showCase, showOverlay
from .common import Teller, colorIcon, enable, fileToSave, setUpTable, signalsBlocked

STATES = {NEW: _("new"), ACCEPTED: _("accepted"), REJECTED: _("rejected")}
TWO_LINES, WIDEST_NAME = 34, 90  # pixels: the height of a row; how far a target's name reaches before it is wrapped
SIGNS = {NEW: "", ACCEPTED: "\N{CHECK MARK}", REJECTED: "\N{BALLOT X}"}  # there is no room for the words


class ReviewPanel:
    """The table of targets and segments, and what a person thinks of them.

    A row is shown in the slice views when it is clicked or reached by the arrow keys.

    :param onChanged: called when something changed that buttons depend on.
    """

    TARGET, SEGMENT, CONFIDENCE, VOLUME, DIFFERENCE, STATE = range(6)  # columns

    def __init__(self, ui: Any, teller: Teller, onChanged: Callable[[], None]) -> None:
        self.ui, self._teller, self._onChanged = ui, teller, onChanged
        self._findings = Findings()
        self._shown: list[Finding] = []
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.connect("timeout()", self._count)
        self._setUpTable()
        ui.reviewTable.connect("currentCellChanged(int,int,int,int)", self._onCurrentRow)
        ui.reviewTable.connect("itemSelectionChanged()", self.updateButtons)
        ui.acceptButton.connect("clicked(bool)", lambda: self._judge(ACCEPTED))
        ui.rejectButton.connect("clicked(bool)", lambda: self._judge(REJECTED))
        ui.editButton.connect("clicked(bool)", self._edit)
        ui.doubtCheckBox.connect("toggled(bool)", self._onOverlay)
        ui.tableNodeButton.connect("clicked(bool)", self._toTable)
        ui.csvButton.connect("clicked(bool)", self._askAndSaveCsv)

    @property
    def findings(self) -> list[Finding]:
        """As shown: the least certain first."""
        return self._shown

    def current(self) -> Finding | None:
        """The one that was clicked or reached last."""
        row = self.ui.reviewTable.currentRow()
        return self._shown[row] if 0 <= row < len(self._shown) else None

    def selected(self) -> list[Finding]:
        rows = {index.row() for index in self.ui.reviewTable.selectionModel().selectedRows()}
        return [self._shown[row] for row in sorted(rows)]

    def show(self) -> None:
        """Show the scene's results as they are now; the chosen row stays chosen."""
        removeOrphans()
        found = self._findings.all()
        if self._findings.pending:
            self._soon.start()
        if found == self._shown:
            return
        current = self.current()
        table = self.ui.reviewTable
        with signalsBlocked(table):
            self._fill(found)
            rows = [n for n, f in enumerate(found) if current and _place(f) == _place(current)]
            if rows:
                table.setCurrentCell(rows[0], self.TARGET)
            else:
                table.setCurrentItem(None)
        self.updateButtons()

    def close(self) -> None:
        self._soon.stop()

    def updateButtons(self) -> None:
        self.ui.reviewLabel.text = self._inFull(self.current())
        none = [(not self._shown, _("There are no results yet."))]
        chosen = [*none, (not self.selected(), _("Click a row of the table first."))]
        enable(self.ui.acceptButton, chosen, _("The selected rows are right."))
        enable(self.ui.rejectButton, chosen, _("The selected rows are of no use."))
        enable(self.ui.editButton, chosen, _("Correct the selected result in the Segment Editor."))
        enable(self.ui.tableNodeButton, none, _("Put this table into the scene."))
        enable(self.ui.csvButton, none, _("Save this table as a file for spreadsheets."))

    def saveCsv(self, path: str | Path) -> None:
        with self._teller.errorsInWords():
            saveCsv(self._shown, path)
            self._teller.end(_("The table is saved as {path}.").format(path=path))

    def _count(self) -> None:
        if self._findings.pending:
            self._findings.countOne()
            self.show()

    def _fill(self, found: list[Finding]) -> None:
        """Change only the rows that must be: a result comes while hundreds are shown."""
        table, shown = self.ui.reviewTable, self._shown
        stay = set(found)
        for row in reversed(range(len(shown))):
            if shown[row] not in stay:
                table.removeRow(row)
        left = [finding for finding in shown if finding in stay]
        kept = set(left)
        if left != [finding for finding in found if finding in kept]:  # in another order
            table.setRowCount(0)
            left = []
        for row, finding in enumerate(found):
            if row >= len(left) or left[row] != finding:
                table.insertRow(row)
                left.insert(row, finding)
                self._showRow(row, finding)
        self._shown = found

    def _showRow(self, row: int, finding: Finding) -> None:
        difference = "" if finding.difference is None else f"{finding.difference:+.0f}"
        numbers = [f"{100 * finding.confidence:.0f}", volumeWords(finding.volume_ml), difference]
        texts = [finding.target, finding.segment, *numbers, SIGNS[finding.state]]
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(f"{finding.target}: {finding.segment} ({STATES[finding.state]})")
            if column == self.SEGMENT:
                item.setIcon(colorIcon(finding.color))
            if self.CONFIDENCE <= column <= self.DIFFERENCE:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            self.ui.reviewTable.setItem(row, column, item)

    def _onCurrentRow(self, row: int, column: int, before: int) -> None:
        finding = self.current()
        if finding is not None and row != before:
            self._showCase(finding)
            self._onChanged()

    def _inFull(self, finding: Finding | None) -> str:
        if finding is None:
            return _("Click a row to see where the result is least certain.")
        words = _("{target}, {segment}: {state}, {sure:.0f} % sure, {ml} mL").format(
            target=finding.target, segment=finding.segment, state=STATES[finding.state],
            sure=100 * finding.confidence, ml=volumeWords(finding.volume_ml),
        )  # fmt: skip
        if finding.note:
            return f"{words}. {_(finding.note)}"
        if finding.difference is None:
            return f"{words}."
        kind = _("more") if finding.difference >= 0 else _("less")
        than = _("{percent:.0f} % {kind} than the references").format(percent=abs(finding.difference), kind=kind)
        return f"{words}, {than}."

    def _showCase(self, finding: Finding) -> None:
        showCase(finding.node, finding.volumeNode, finding.place, self._overlay(finding))

    def _overlay(self, finding: Finding) -> slicer.vtkMRMLScalarVolumeNode | None:
        return doubtVolume(finding.node) if self.ui.doubtCheckBox.checked else None

    def _onOverlay(self) -> None:
        finding = self.current()
        showOverlay(self._overlay(finding) if finding else None)

    def _judge(self, state: str) -> None:
        """Note it and go on to the next row, so that a list is gone through with one key or button."""
        row = self.ui.reviewTable.currentRow()
        setState(self.selected(), state)
        self.show()
        if row + 1 < len(self._shown):
            self.ui.reviewTable.selectRow(row + 1)
        self._onChanged()

    def _edit(self) -> None:
        finding = self.selected()[0]
        self._showCase(finding)
        openInSegmentEditor(finding.node, finding.volumeNode, finding.segmentID)

    def _toTable(self) -> None:
        words = _("The table '{name}' is in the scene; the Tables module shows it.")
        self._teller.end(words.format(name=showTable(self._shown).GetName()))

    def _askAndSaveCsv(self) -> None:
        path = fileToSave(_("Save table"), "iris-results.csv", _("Tables (*.csv)"))
        if path:
            self.saveCsv(path)

    def _setUpTable(self) -> None:
        table = self.ui.reviewTable
        setUpTable(table, [_("Target"), _("Segment"), _("Sure"), _("mL"), _("±%"), _("OK")])
        table.setWordWrap(True)  # segments of one preset often begin alike and end alike
        table.verticalHeader().defaultSectionSize = TWO_LINES
        table.setIconSize(qt.QSize(10, 10))
        tips = {
            self.CONFIDENCE: _("The Dice to expect, in percent; the least certain come first."),
            self.DIFFERENCE: _("Volume compared with the preset's references."),
            self.STATE: _("Whether it was accepted or rejected."),
        }
        for column, tip in tips.items():
            table.horizontalHeaderItem(column).setToolTip(tip)
        header = table.horizontalHeader()
        for column in range(6):
            rest = column == self.SEGMENT
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch if rest else qt.QHeaderView.ResizeToContents)
        header.minimumSectionSize, header.maximumSectionSize = 28, WIDEST_NAME


def _place(finding: Finding) -> tuple[str, str]:
    return (finding.nodeID, finding.segmentID)


def volumeWords(ml: float | None) -> str:
    """Three digits, or all whole ones: a liver has 1530 mL, not 1.53e+03."""
    return "..." if ml is None else f"{ml:.0f}" if ml >= 100 else f"{ml:#.3g}".rstrip(".")
