"""The section of the volumes to segment, and how each fares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from .common import Teller, enable, isTicked, running, setTicked, signalsBlocked

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
WIDEST_NAME = 150  # pixels; a longer name is wrapped, to leave room for the result
Fate = tuple[str, str]  # a state, and words on it


class Segmenter(Protocol):
    """Who segments volumes by a preset."""

    @property
    def busy(self) -> bool: ...
    def segmentAll(
        self,
        preset: Preset,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        onTarget: Callable[[str, str, float, str], None],
        onFinished: Callable[[], None],
    ) -> None: ...


class TargetsPanel:
    """The table of the scene's volumes and Segment all.

    :param currentPreset: what to segment with, or None.
    :param referenceVolume: the volume that is ticked only when a person ticks it, or None.
    :param onChanged: called when something changed that buttons depend on.
    """

    VOLUME, STATE, RESULT = range(3)  # columns

    def __init__(
        self,
        ui: Any,
        segmenter: Segmenter,
        teller: Teller,
        currentPreset: Callable[[], Preset | None],
        referenceVolume: Callable[[], slicer.vtkMRMLScalarVolumeNode | None],
        onChanged: Callable[[], None],
    ) -> None:
        self.ui, self._segmenter, self._teller = ui, segmenter, teller
        self._currentPreset, self._referenceVolume, self._onChanged = currentPreset, referenceVolume, onChanged
        self._fates: dict[str, Fate] = {}  # by volume ID, of all runs in this scene
        self._ticks: dict[str, bool] = {}  # by volume ID, where a person has ticked or unticked
        self._run: dict[str, Fate] = {}  # by volume ID, of the latest run
        self._setUpTable()
        ui.segmentButton.connect("clicked(bool)", self.segmentAll)
        ui.targetsTable.connect("itemChanged(QTableWidgetItem*)", self._onTicked)

    def show(self) -> None:
        """Show the scene's volumes as they are now."""
        table = self.ui.targetsTable
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        volumes = [v for v in volumes if v.GetClassName() == "vtkMRMLScalarVolumeNode" and not v.GetHideFromEditors()]
        reference = self._referenceVolume()
        with signalsBlocked(table):
            table.setRowCount(len(volumes))
            for row, volume in enumerate(volumes):
                state, words = self._fates.get(volume.GetID(), ("", ""))
                name = qt.QTableWidgetItem(volume.GetName())
                name.setData(qt.Qt.UserRole, volume.GetID())
                setTicked(name, self._ticks.get(volume.GetID(), volume is not reference))
                table.setItem(row, self.VOLUME, name)
                shown = _("reference") if volume is reference and not state else STATES[state]
                table.setItem(row, self.STATE, qt.QTableWidgetItem(shown))
                table.setItem(row, self.RESULT, qt.QTableWidgetItem())
                self._showResult(row, words)
        self._onChanged()

    def forget(self) -> None:
        """Forget ticks and states: the next scene gives the same IDs to other volumes. Late news is dropped."""
        self._fates.clear()
        self._ticks.clear()
        self._run = {}

    def tickOnly(self, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
        chosen = {volume.GetID() for volume in volumeNodes}
        cells = [self.ui.targetsTable.item(row, self.VOLUME) for row in range(self.ui.targetsTable.rowCount)]
        for cell in cells:
            setTicked(cell, cell.data(qt.Qt.UserRole) in chosen)

    def ticked(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        cells = [self.ui.targetsTable.item(row, self.VOLUME) for row in range(self.ui.targetsTable.rowCount)]
        nodes = [slicer.mrmlScene.GetNodeByID(cell.data(qt.Qt.UserRole)) for cell in cells if isTicked(cell)]
        return [node for node in nodes if node is not None]

    def updateButtons(self) -> None:
        preset = self._currentPreset()
        obstacles = [
            running(self._segmenter.busy),
            (preset is None, _("Encode a reference or load a preset first.")),
            (preset is not None and not any(r.enabled for r in preset.references), _("Tick one of its references.")),
            (not self.ticked(), _("Tick at least one target volume.")),
        ]
        enable(self.ui.segmentButton, obstacles, _("Segment every ticked volume with the selected preset."))

    def segmentAll(self) -> None:
        targets = self.ticked()
        tell = self._teller.begin()
        run = self._run = {volume.GetID(): ("", "") for volume in targets}

        def onTarget(volumeID: str, state: str, fraction: float, words: str) -> None:
            if state == "running":
                ended = sum(other in ("done", "failed", "cancelled") for other, _words in run.values())
                tell((ended + fraction) / len(run), words)
                words = ""
            run[volumeID] = (state, words)
            if run is self._run:
                self._fates[volumeID] = (state, words)
                self._showFate(volumeID)

        with self._teller.errorsInWords():
            self._segmenter.segmentAll(self._currentPreset(), targets, onTarget, lambda: self._onFinished(run))

    def _onFinished(self, run: dict[str, Fate]) -> None:
        done = sum(state == "done" for state, words in run.values())
        failures = [words for state, words in run.values() if state == "failed"]
        sentence = _("{done} of {count} volumes segmented.").format(done=done, count=len(run))
        self._teller.end(" ".join([sentence, *failures[:1]]))

    def _onTicked(self, item: qt.QTableWidgetItem) -> None:
        if item.column() == self.VOLUME:
            self._ticks[item.data(qt.Qt.UserRole)] = isTicked(item)
            self._onChanged()

    def _showFate(self, volumeID: str) -> None:
        table = self.ui.targetsTable
        state, words = self._fates[volumeID]
        for row in range(table.rowCount):
            if table.item(row, self.VOLUME).data(qt.Qt.UserRole) == volumeID:
                table.item(row, self.STATE).setText(STATES[state])
                self._showResult(row, words)

    def _showResult(self, row: int, words: str) -> None:
        item = self.ui.targetsTable.item(row, self.RESULT)
        item.setText(words)
        item.setToolTip(words)

    def _setUpTable(self) -> None:
        table = self.ui.targetsTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Volume"), _("State"), _("Result")])
        table.verticalHeader().hide()
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header = table.horizontalHeader()
        header.setSectionResizeMode(self.VOLUME, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(self.STATE, qt.QHeaderView.ResizeToContents)
        header.maximumSectionSize = WIDEST_NAME
        header.setStretchLastSection(True)
        table.setWordWrap(True)
