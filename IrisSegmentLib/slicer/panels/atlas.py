"""The section of the map on which classes that are alike lie together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import qt
from slicer.i18n import tr as _

from ..plots import Series, onPointClicked, showChart
from .common import Teller, colorIcon, enable, setUpTable, signalsBlocked

if TYPE_CHECKING:
    from ...context.atlas import Place
    from ...context.library import Kept
    from ...context.preset import Preset


class Presets(Protocol):
    """Who shows the presets of this run: `PresetsPanel`."""

    def current(self) -> Preset | None: ...
    def all(self) -> list[Preset]: ...
    def show(self, select: Preset | None = None) -> None: ...


class Library(Protocol):
    """Who shows the presets that are kept: `LibraryPanel`."""

    def all(self) -> list[Kept]: ...
    def select(self, kept: Kept) -> None: ...


class AtlasPanel:
    """Draw map, and a table of its points; a click on either selects the preset.

    :param onChanged: called when something changed that buttons depend on.
    """

    CLASS, PRESET, NEAREST = range(3)  # columns

    def __init__(
        self, ui: Any, teller: Teller, presets: Presets, library: Library, onChanged: Callable[[], None]
    ) -> None:
        self.ui, self._teller, self._presets, self._library = ui, teller, presets, library
        self._onChanged = onChanged
        self._drawn: list[Preset] = []
        self._kept: list[Kept | None] = []  # of the drawn presets, those of the library
        self._places: list[Place] = []
        self._series: dict[str, list[int]] = {}  # places of each series, by its node's ID
        self._watched: list[Callable[[], None]] = []  # what ends the watch on the plot views
        self._setUpTable()
        ui.mapButton.connect("clicked(bool)", self.draw)
        ui.mapTable.connect("itemSelectionChanged()", self._onRow)

    def updateButtons(self) -> None:
        none = [(self._presets.current() is None, _("Encode a reference, or load or use a preset first."))]
        enable(self.ui.mapButton, none, _("Draw the classes of all presets, here and in your library."))

    def forget(self) -> None:
        """The scene was closed, and the plot with it."""
        self._places, self._series = [], {}
        self.ui.mapTable.setRowCount(0)

    def close(self) -> None:
        """Let go of the plot views."""
        for end in self._watched:
            end()
        self._watched = []

    def draw(self) -> None:
        from ...context.atlas import atlas  # needs safetensors, which is there when a preset is

        with self._teller.errorsInWords():
            left = self._collect()
            self._places = atlas(self._drawn)
            groups = self._grouped()
            chart = showChart([self._seriesOf(*group) for group in groups.items()], _("Classes of Iris presets"))
            ids = [chart.GetNthPlotSeriesNodeID(n) for n in range(len(groups))]
            self._series = dict(zip(ids, groups.values(), strict=True))
            self.close()
            self._watched = onPointClicked(self._onPoint)
            self._showTable()
            words = _("The plot view shows the map. Classes: {count}, presets: {presets}.")
            told = words.format(count=len(self._places), presets=len(self._drawn))
            more = _("Left out, since another network made them: {count}.").format(count=left) if left else ""
            self._teller.end(f"{told} {more}".strip())

    def _collect(self) -> int:
        """Presets of the selected one's network, here and in the library; returns how many others there are."""
        here = self._presets.all()
        there = {_state(preset) for preset in here}  # one that is kept in the library too is drawn once
        kept = [k for k in self._library.all() if _state(k.preset) not in there]
        found = [*((p, None) for p in here), *((k.preset, k) for k in kept)]
        network = self._presets.current().network
        ours = [pair for pair in found if pair[0].network == network]
        self._drawn, self._kept = [p for p, _k in ours], [k for _p, k in ours]
        return len(found) - len(ours)

    def _grouped(self) -> dict[tuple[int, str], list[int]]:
        """Places by preset and class."""
        groups: dict[tuple[int, str], list[int]] = {}
        for n, place in enumerate(self._places):
            groups.setdefault((place.number, place.segment), []).append(n)
        return groups

    def _seriesOf(self, group: tuple[int, str], places: list[int]) -> Series:
        number, segment = group
        points = [
            (*self._places[n].at, f"{segment}, {self._drawn[number].name} {self._places[n].reference + 1}")
            for n in places
        ]
        return Series(f"{segment} ({self._drawn[number].name})", self._places[places[0]].color, number, points)

    def _showTable(self) -> None:
        table = self.ui.mapTable
        with signalsBlocked(table):
            table.clearSelection()
            table.setRowCount(len(self._places))
            for row, place in enumerate(self._places):
                for column, text in enumerate((place.segment, self._nameOf(place), self._nearest(place))):
                    item = qt.QTableWidgetItem(text)
                    item.setToolTip(text)
                    if column == self.CLASS:
                        item.setIcon(colorIcon(place.color))
                    table.setItem(row, column, item)

    def _nameOf(self, place: Place) -> str:
        return f"{self._drawn[place.number].name} {place.reference + 1}"

    def _nearest(self, place: Place) -> str:
        if place.nearest is None:
            return ""
        other, similarity = place.nearest
        return f"{self._places[other].segment}, {self._nameOf(self._places[other])} ({100 * similarity:.0f} %)"

    def _onRow(self) -> None:
        row = self.ui.mapTable.currentRow()
        if 0 <= row < len(self._places):
            self._select(self._places[row].number)

    def _onPoint(self, seriesID: str, point: int) -> None:
        if seriesID in self._series:
            self.ui.mapTable.selectRow(self._series[seriesID][point])

    def _select(self, number: int) -> None:
        kept = self._kept[number]
        if kept is not None:
            self._library.select(kept)
        elif any(preset is self._drawn[number] for preset in self._presets.all()):
            self._presets.show(select=self._drawn[number])

    def _setUpTable(self) -> None:
        table = self.ui.mapTable
        setUpTable(table, [_("Class"), _("Preset"), _("Nearest")])
        for column in range(3):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.Stretch)


def _state(preset: Preset) -> tuple:
    return (preset.name, preset.created, len(preset.references), preset.tuning)
