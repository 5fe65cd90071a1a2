"""The section of the presets that are kept: the person's own library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from .. import settings
from .common import Teller, enable, fileToOpen, fileToSave, running, setUpTable, signalsBlocked
from .presets import PRESET_FILES

if TYPE_CHECKING:
    from ...context.library import Kept, Match, PresetLibrary
    from ...context.preset import Preset
    from ...engine.client import Look
    from ..shelf import PresetShelf


class Looker(Protocol):
    """Who looks at scans."""

    @property
    def busy(self) -> bool: ...
    def ensurePackages(self) -> None: ...
    def look(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        onProgress: Callable[[float, str], None],
        onDone: Callable[[Look], None],
        onError: Callable[[str], None],
    ) -> object: ...


class Presets(Protocol):
    """Who shows the presets of this run: `PresetsPanel`."""

    def current(self) -> Preset | None: ...
    def show(self, select: Preset | None = None) -> None: ...


class LibraryPanel:
    """The table of kept presets, what can be done with them, and which of them suit a volume.

    :param onChanged: called when something changed that buttons depend on.
    """

    NAME, SEGMENTS, RANK = range(3)  # columns

    def __init__(
        self,
        ui: Any,
        looker: Looker,
        shelf: PresetShelf,
        teller: Teller,
        presets: Presets,
        onChanged: Callable[[], None],
    ) -> None:
        self.ui, self._looker, self._shelf, self._teller, self._presets = ui, looker, shelf, teller, presets
        self._onChanged = onChanged
        self._opened: PresetLibrary | None = None
        self._shown: list[Kept] = []
        self._look: Look | None = None  # at the volume that presets are ranked for
        self._setUpTable()
        ui.searchEdit.connect("textChanged(QString)", lambda words: self.show())
        ui.libraryTable.connect("itemSelectionChanged()", self._onSelected)
        ui.libraryTable.connect("itemChanged(QTableWidgetItem*)", self._onRenamed)
        ui.libraryTable.connect("cellDoubleClicked(int,int)", self.use)
        ui.notesEdit.connect("editingFinished()", self._onNotes)
        ui.suggestVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onVolume)
        ui.librarySection.connect("contentsCollapsed(bool)", self._onFolded)
        for button, slot in {
            ui.keepButton: self.keep, ui.useButton: self.use, ui.renameButton: self._editName,
            ui.duplicateButton: self.duplicate, ui.deleteButton: self.delete, ui.undoDeleteButton: self.undo,
            ui.importButton: self._askAndTake, ui.exportButton: self._askAndGive, ui.suggestButton: self.suggest,
        }.items():  # fmt: skip
            button.connect("clicked(bool)", slot)

    def current(self) -> Kept | None:
        """The selected one."""
        row = self.ui.libraryTable.currentRow()
        return self._shown[row] if 0 <= row < len(self._shown) else None

    def all(self) -> list[Kept]:
        """Every preset of the library.

        :raises IrisError: when what reading presets needs is not there and is declined.
        """
        return self._library().presets() if settings.hasPresets() else []

    def select(self, kept: Kept) -> None:
        """Select one, whatever was searched for."""
        with signalsBlocked(self.ui.searchEdit):
            self.ui.searchEdit.text = ""
        self.show(select=kept.path)

    def show(self, select: Path | None = None) -> None:
        """Show those that match the search; ranked when a volume was looked at."""
        kept = self.current()
        chosen = select or (kept.path if kept else None)
        matches = self._matches()
        self._shown = [match.kept for match in matches]
        table = self.ui.libraryTable
        with signalsBlocked(table):
            table.setRowCount(len(matches))
            for row, match in enumerate(matches):
                self._showRow(row, match)
            rows = [row for row, found in enumerate(self._shown) if found.path == chosen]
            table.setCurrentCell(*((rows[0], self.NAME) if rows else (-1, -1)))
            if not rows:
                table.clearSelection()
        self._onSelected()

    def updateButtons(self) -> None:
        busy = running(self._looker.busy)
        keep = [(self._presets.current() is None, _("Encode a reference or load a preset first."))]
        enable(self.ui.keepButton, keep, _("Keep the preset that is selected above in your library."))
        chosen = [(self.current() is None, _("Select a preset in this table first."))]
        enable(self.ui.useButton, chosen, _("Put the selected preset in the list above, to segment with it."))
        enable(self.ui.renameButton, chosen, _("Give the selected preset another name."))
        enable(self.ui.duplicateButton, chosen, _("Make a copy of the selected preset."))
        enable(self.ui.deleteButton, chosen, _("Delete the selected preset; Undo brings it back."))
        enable(self.ui.exportButton, chosen, _("Save the selected preset as a file to give away; it holds no image."))
        nothing = [(self._opened is None or not self._opened.can_undo, _("Nothing was deleted."))]
        enable(self.ui.undoDeleteButton, nothing, _("Bring back the preset that was deleted last."))
        self.ui.notesEdit.enabled = self.current() is not None
        none = self._opened is None or not self._opened.paths()
        suggest = [
            busy,
            (none, _("There is no preset in the library yet.")),
            (self.ui.suggestVolumeSelector.currentNode() is None, _("Choose the volume to find presets for.")),
        ]
        enable(self.ui.suggestButton, suggest, _("Rank the presets by how much their references resemble the volume."))

    def keep(self) -> None:
        def act(library: PresetLibrary) -> Path:
            return library.save(self._presets.current())

        self._do(act, _("The preset '{name}' is kept in your library."))

    def use(self) -> None:
        preset = self.current().preset
        self._shelf.put(preset)
        self._presets.show(select=preset)
        self._teller.end(_("The preset '{name}' is loaded.").format(name=preset.name))

    def duplicate(self) -> None:
        self._do(lambda library: library.duplicate(self.current().path), _("'{name}' is the copy."))

    def delete(self) -> None:
        name = self.current().preset.name
        with self._teller.errorsInWords():
            self._library().delete(self.current().path)
            self.show()
            self._teller.end(_("The preset '{name}' is deleted; Undo brings it back.").format(name=name))

    def undo(self) -> None:
        self._do(lambda library: library.undo(), _("The preset '{name}' is back."))

    def take(self, path: str | Path) -> None:
        """Import a preset file."""
        self._do(lambda library: library.take(path), _("The preset '{name}' is in your library now."))

    def give(self, path: str | Path) -> None:
        """Export the selected preset."""
        with self._teller.errorsInWords():
            self._library().give(self.current().path, path)
            self._teller.end(_("The preset is saved as {path}.").format(path=path))

    def suggest(self) -> None:
        tell = self._teller.begin()
        with self._teller.errorsInWords():
            volume = self.ui.suggestVolumeSelector.currentNode()
            self._looker.look(volume, tell, lambda look: self._onLook(volume, look), self._teller.fail)

    def _onLook(self, volume: slicer.vtkMRMLScalarVolumeNode, look: Look) -> None:
        with self._teller.errorsInWords():
            self._look = look
            self.show()
            best = next((match for match in self._matches() if match.similarity is not None), None)
            if best is None:
                self._teller.end(_("No preset of the library was made by the network in use."))
            else:
                words = _("'{name}' suits the volume best. {doubts}")
                self._teller.end(words.format(name=best.kept.preset.name, doubts=" ".join(best.differences)).strip())

    def _onVolume(self) -> None:
        self._look = None  # the ranking was for another volume
        if self._opened is not None:
            self.show()
        self.updateButtons()

    def _onFolded(self, folded: bool) -> None:
        if not folded and self._opened is None and settings.hasPresets():
            with self._teller.errorsInWords():
                self._library()
                self.show()

    def _library(self) -> PresetLibrary:
        """:raises IrisError: when what reading presets needs is not there and is declined."""
        if self._opened is None:
            self._looker.ensurePackages()
            from ...context.library import PresetLibrary

            self._opened = PresetLibrary(settings.presetFolder())
        return self._opened

    def _matches(self) -> list[Match]:
        """Those that match the search, in the order in which they are shown."""
        if self._opened is None:
            return []
        from ...context.library import Match, ranked

        kept = self._opened.presets(self.ui.searchEdit.text)
        if self._look is None:
            return [Match(found, None, ()) for found in kept]
        look = self._look
        return ranked(kept, look.vector, look.network, look.appearance)

    def _do(self, act: Callable[[PresetLibrary], Path], words: str) -> None:
        """Change the library, show and select what became of it, and tell."""
        with self._teller.errorsInWords():
            path = act(self._library())
            self.select(self._library().at(path))
            self._teller.end(words.format(name=self.current().preset.name))

    def _editName(self) -> None:
        table = self.ui.libraryTable
        table.editItem(table.item(table.currentRow(), self.NAME))

    def _onRenamed(self, item: qt.QTableWidgetItem) -> None:
        name, kept = item.text(), self._shown[item.row()]
        if name == kept.preset.name:
            return
        path = kept.path
        with self._teller.errorsInWords():
            path = self._library().rename(path, name)
            self._teller.end(_("The preset is called '{name}' now.").format(name=name.strip()))
        self.show(select=path)  # in its new place, or under its old name when the new one was refused

    def _onNotes(self) -> None:
        kept = self.current()
        if kept is not None and self.ui.notesEdit.text != kept.preset.notes:
            with self._teller.errorsInWords():
                self.show(select=self._library().annotate(kept.path, self.ui.notesEdit.text))

    def _onSelected(self) -> None:
        kept = self.current()
        self.ui.notesEdit.text = kept.preset.notes if kept else ""
        self._onChanged()

    def _showRow(self, row: int, match: Match) -> None:
        preset = match.kept.preset
        segments = ", ".join(s.name for s in preset.segments)
        rank = "" if match.similarity is None else str(row + 1)
        for column, text in enumerate((preset.name, segments, rank)):
            item = qt.QTableWidgetItem(text)
            item.setToolTip("\n".join([_tip(preset), *match.differences]))
            if column == self.NAME:
                item.setFlags(item.flags() | qt.Qt.ItemIsEditable)
            self.ui.libraryTable.setItem(row, column, item)

    def _askAndTake(self) -> None:
        path = fileToOpen(_("Import preset"), "", PRESET_FILES)
        if path:
            self.take(path)

    def _askAndGive(self) -> None:
        path = fileToSave(_("Export preset"), self.current().path.name, PRESET_FILES)
        if path:
            self.give(path)

    def _setUpTable(self) -> None:
        table = self.ui.libraryTable
        setUpTable(table, [_("Preset"), _("Finds"), _("Rank")])
        header = table.horizontalHeader()
        header.setSectionResizeMode(self.NAME, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(self.SEGMENTS, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(self.RANK, qt.QHeaderView.ResizeToContents)


def _tip(preset: Preset) -> str:
    references = sum(r.enabled for r in preset.references)
    return _("{name}: {segments}\n{modality}, {count} references, made {day}").format(
        name=preset.name, segments=", ".join(s.name for s in preset.segments), modality=preset.modality or "?",
        count=references, day=preset.created[:10],
    )  # fmt: skip
