"""The section of the volumes to segment, and how each fares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from ..existing import ExistingSegmentation
from ..results import resultsOf
from ..targets import Target, targetsInScene
from ..wish import Wish
from .common import Teller, enable, isTicked, running, setTicked, signalsBlocked
from .timeleft import TimeLeft

if TYPE_CHECKING:
    from ...context.preset import Preset

STATES = {
    "": "",
    "waiting": _("waiting"),
    "running": _("running"),
    "done": _("done"),
    "failed": _("failed"),
    "cancelled": _("stopped"),
}
GOING = ("waiting", "running")
WIDEST_NAME = 150  # pixels; a longer name is wrapped, to leave room for the result
Fate = tuple[str, str]  # a state, and words on it


class Segmenter(Protocol):
    """Who segments volumes by a preset."""

    @property
    def busy(self) -> bool: ...
    def segmentAll(
        self,
        preset: Preset,
        nodes: Sequence[slicer.vtkMRMLNode],
        onTarget: Callable[[str, str, float, str], None],
        onFinished: Callable[[], None],
        wish: Wish,
    ) -> None: ...
    def cancelTarget(self, nodeID: str) -> None: ...


class TargetsPanel:
    """The table of the scene's volumes and sequences, what to do with them, and Segment all.

    :param currentPreset: what to segment with, or None.
    :param referenceVolume: the volume that is ticked only when a person ticks it, or None.
    :param how: the strategy and where its references come from.
    :param onChanged: called when something changed that buttons depend on.
    """

    VOLUME, STATE, RESULT, STOP = range(4)  # columns

    def __init__(
        self,
        ui: Any,
        segmenter: Segmenter,
        teller: Teller,
        currentPreset: Callable[[], Preset | None],
        referenceVolume: Callable[[], slicer.vtkMRMLScalarVolumeNode | None],
        how: Callable[[], Wish],
        onChanged: Callable[[], None],
    ) -> None:
        self.ui, self._segmenter, self._teller, self._how = ui, segmenter, teller, how
        self._currentPreset, self._referenceVolume, self._onChanged = currentPreset, referenceVolume, onChanged
        self._targets: list[Target] = []  # as the rows show them
        self._fates: dict[tuple[str, str], Fate] = {}  # by preset's name and node ID, of all runs in this scene
        self._ticks: dict[str, bool] = {}  # by node ID, where a person has ticked or unticked
        self._run: dict[str, Fate] = {}  # by node ID, of the latest run
        self._clocks: dict[str, TimeLeft] = {}  # by node ID, of the latest run
        self._shownFor = ""  # name of the preset whose results are marked as done
        self._added: ExistingSegmentation | None = None  # what was added to last
        self._setUpTable()
        ui.segmentButton.connect("clicked(bool)", self.segmentAll)
        ui.undoAdditionButton.connect("clicked(bool)", self.undoAddition)
        ui.tickOthersButton.connect("clicked(bool)", lambda: self._tick(self._isOther))
        ui.tickNewButton.connect("clicked(bool)", lambda: self._tick(self._isNew))
        ui.tickNoneButton.connect("clicked(bool)", lambda: self._tick(lambda target: False))
        ui.targetFilterEdit.connect("textChanged(QString)", self._filter)
        ui.targetsTable.connect("itemChanged(QTableWidgetItem*)", self._onTicked)
        for selector in (ui.regionSelector, ui.destinationSelector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._onChanged())

    def show(self) -> None:
        """Show the scene's volumes and sequences as they are now."""
        table = self.ui.targetsTable
        self._targets = targetsInScene()
        self._shownFor = self._presetName()
        with signalsBlocked(table):
            table.setRowCount(len(self._targets))
            for row, target in enumerate(self._targets):
                self._showTarget(row, target)
                self._showFate(row)
        self._filter()

    def forget(self) -> None:
        """Forget ticks and states: the next scene gives the same IDs to other volumes. Late news is dropped."""
        self._fates.clear()
        self._ticks.clear()
        self._run, self._added = {}, None

    def ticked(self) -> list[slicer.vtkMRMLNode]:
        """Those that are ticked and shown: what the filter hides is not meant."""
        table = self.ui.targetsTable
        rows = [row for row in range(table.rowCount) if not table.isRowHidden(row)]
        cells = [table.item(row, self.VOLUME) for row in rows if isTicked(table.item(row, self.VOLUME))]
        nodes = [slicer.mrmlScene.GetNodeByID(cell.data(qt.Qt.UserRole)) for cell in cells]
        return [node for node in nodes if node is not None]

    def tickOnly(self, nodes: Sequence[slicer.vtkMRMLNode]) -> None:
        """Tick these and no others, and show them."""
        self.ui.targetFilterEdit.text = ""
        self.show()
        self._tick(lambda target: target.node in nodes)

    def updateButtons(self) -> None:
        if self._presetName() != self._shownFor:  # another preset has results on other volumes
            self.show()
            return
        preset, ticked, busy = self._currentPreset(), self.ticked(), running(self._segmenter.busy)
        several = len(ticked) > 1 and self.ui.destinationSelector.currentNode() is not None
        obstacles = [
            busy,
            (preset is None, _("Encode a reference or load a preset first.")),
            (preset is not None and not any(r.enabled for r in preset.references), _("Tick one of its references.")),
            (self._how().lacksSource, _("Choose a pool or bank under Advanced, or another strategy.")),
            (not ticked, _("Tick at least one target volume.")),
            (several, _("Tick one volume only, or choose no segmentation to add to.")),
        ]
        enable(self.ui.segmentButton, obstacles, _("Segment every ticked volume with the selected preset."))
        undo = [busy, (self._added is None or not self._added.canUndo, _("Nothing was added to a segmentation."))]
        enable(self.ui.undoAdditionButton, undo, _("Take back what was added last; your own edits stay."))

    def segmentAll(self) -> None:
        preset, targets, tell = self._currentPreset(), self.ticked(), self._teller.begin()
        run = self._run = {node.GetID(): ("", "") for node in targets}
        self._clocks = {}

        def onTarget(nodeID: str, state: str, fraction: float, words: str) -> None:
            if state == "running":
                ended = sum(other in ("done", "failed", "cancelled") for other, _words in run.values())
                tell((ended + fraction) / len(run), words)
                words = self._progressWords(nodeID, fraction)
            run[nodeID] = (state, words)
            if run is self._run:
                self._fates[preset.name, nodeID] = (state, words)
                self._showFateOf(nodeID)

        with self._teller.errorsInWords():
            self._segmenter.segmentAll(preset, targets, onTarget, lambda: self._onFinished(run), self._wish())

    def undoAddition(self) -> None:
        stayed = self._added.undo()
        kept = _("{names} stays, for you have changed it.").format(names=", ".join(stayed)) if stayed else ""
        self._teller.end(" ".join([_("The addition is taken back."), kept]).strip())

    def _wish(self) -> Wish:
        destination = self.ui.destinationSelector.currentNode()
        self._added = ExistingSegmentation(destination) if destination is not None else self._added
        region = self.ui.regionSelector.currentNode()
        return replace(self._how(), region=region, destination=self._added if destination is not None else None)

    def _onFinished(self, run: dict[str, Fate]) -> None:
        if all(state == "cancelled" for state, words in run.values()):
            self._teller.fail("")
            return
        states = [state for state, words in run.values()]
        done, stopped = states.count("done"), states.count("cancelled")
        failures = [words for state, words in run.values() if state == "failed"]
        plain = _("{done} of {count} volumes segmented.")
        partly = _("{done} of {count} volumes segmented, {stopped} stopped.")
        sentence = (partly if stopped else plain).format(done=done, count=len(run), stopped=stopped)
        tell = self._teller.fail if failures else self._teller.end
        tell(" ".join([sentence, *failures[:1]]))

    def _presetName(self) -> str:
        preset = self._currentPreset()
        return preset.name if preset is not None else ""

    def _isOther(self, target: Target) -> bool:
        return target.node is not self._referenceVolume() and not target.current

    def _isNew(self, target: Target) -> bool:
        return self._isOther(target) and self._fate(target.node)[0] != "done"

    def _fate(self, node: slicer.vtkMRMLNode) -> Fate:
        """How a target fares in this run, or else what the selected preset has made of it."""
        fate = self._run.get(node.GetID(), ("", ""))
        if fate[0] not in GOING:
            fate = self._fates.get((self._shownFor, node.GetID()), ("", ""))
        if fate == ("", "") and self._shownFor and resultsOf(self._shownFor, node):
            return ("done", _("There is a result of this preset."))
        return fate

    def _tick(self, wanted: Callable[[Target], bool]) -> None:
        """Tick those that are wanted of the rows that are shown, and no others."""
        for row, target in enumerate(self._targets):
            if not self.ui.targetsTable.isRowHidden(row):
                setTicked(self.ui.targetsTable.item(row, self.VOLUME), wanted(target))

    def _filter(self) -> None:
        words = self.ui.targetFilterEdit.text
        for row, target in enumerate(self._targets):
            self.ui.targetsTable.setRowHidden(row, not target.matches(words))
        self._onChanged()

    def _onTicked(self, item: qt.QTableWidgetItem) -> None:
        if item.column() == self.VOLUME:
            self._ticks[item.data(qt.Qt.UserRole)] = isTicked(item)
            self._onChanged()

    def _progressWords(self, nodeID: str, fraction: float) -> str:
        left = self._clocks.setdefault(nodeID, TimeLeft()).words(fraction)
        share = _("{percent} %").format(percent=int(100 * fraction))
        return _("{share}, {time} left").format(share=share, time=left) if left else share

    def _showTarget(self, row: int, target: Target) -> None:
        table, node = self.ui.targetsTable, target.node
        words = _("{name} ({count} frames)") if target.frames > 1 else "{name}"
        name = qt.QTableWidgetItem(words.format(name=node.GetName(), count=target.frames))
        name.setData(qt.Qt.UserRole, node.GetID())
        name.setToolTip(target.place)
        setTicked(name, self._ticks.get(node.GetID(), self._isOther(target)))
        table.setItem(row, self.VOLUME, name)
        for column in (self.STATE, self.RESULT):
            table.setItem(row, column, qt.QTableWidgetItem())

    def _showFateOf(self, nodeID: str) -> None:
        for row, target in enumerate(self._targets):
            if target.node.GetID() == nodeID:
                self._showFate(row)

    def _showFate(self, row: int) -> None:
        table, node = self.ui.targetsTable, self._targets[row].node
        state, words = self._fate(node)
        isReference = node is self._referenceVolume() and not state
        table.item(row, self.STATE).setText(_("reference") if isReference else STATES[state])
        table.item(row, self.RESULT).setText(words)
        table.item(row, self.RESULT).setToolTip(words)
        self._showStop(row, node.GetID(), state in GOING)

    def _showStop(self, row: int, nodeID: str, going: bool) -> None:
        """A button while there is something to stop."""
        table = self.ui.targetsTable
        button = table.cellWidget(row, self.STOP)
        if going and (button is None or button.name != nodeID):
            button = qt.QToolButton()
            button.name = nodeID
            button.text = "×"
            button.autoRaise = True
            button.toolTip = _("Stop this one; the others go on.")
            button.connect("clicked(bool)", lambda: self._segmenter.cancelTarget(nodeID))
            table.setCellWidget(row, self.STOP, button)
        elif not going and button is not None:
            table.removeCellWidget(row, self.STOP)

    def _setUpTable(self) -> None:
        table = self.ui.targetsTable
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Volume"), _("State"), _("Result"), ""])
        table.verticalHeader().hide()
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.verticalHeader().setMinimumSectionSize(24)  # of a row with a button to stop it
        header = table.horizontalHeader()
        header.setSectionResizeMode(self.VOLUME, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(self.STATE, qt.QHeaderView.ResizeToContents)
        header.maximumSectionSize = WIDEST_NAME
        header.setSectionResizeMode(self.RESULT, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(self.STOP, qt.QHeaderView.Fixed)
        header.setMinimumSectionSize(24)
        table.setColumnWidth(self.STOP, 24)
        table.setWordWrap(True)
