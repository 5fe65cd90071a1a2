"""The section of the presets and the references that each was learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from .. import settings
from .common import Obstacle, Teller, enable, fileToOpen, fileToSave, isTicked, running, setTicked, signalsBlocked

if TYPE_CHECKING:
    from ...context.preset import Preset
    from ..shelf import PresetShelf

PRESET_FILES = _("Iris presets (*.iris)")


class Grower(Protocol):
    """Who lets presets grow, and reads and writes their files."""

    @property
    def busy(self) -> bool: ...
    def addReference(
        self,
        preset: Preset,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentIDs: Sequence[str],
        onProgress: Callable[[float, str], None],
        onDone: Callable[[Preset], None],
        onError: Callable[[str], None],
    ) -> object: ...
    def loadPreset(self, path: str | Path) -> Preset: ...
    def savePreset(self, preset: Preset, path: str | Path) -> None: ...


class Marked(Protocol):
    """The reference that is chosen now: `ReferencePanel`."""

    @property
    def volume(self) -> slicer.vtkMRMLScalarVolumeNode | None: ...
    @property
    def segmentation(self) -> slicer.vtkMRMLSegmentationNode | None: ...
    def tickedSegments(self) -> list[str]: ...
    def obstacles(self) -> list[Obstacle]: ...


class PresetsPanel:
    """The list of presets, the selected one's references, and what can be done with it.

    :param onChanged: called when something changed that buttons depend on.
    """

    def __init__(
        self,
        ui: Any,
        grower: Grower,
        shelf: PresetShelf,
        teller: Teller,
        marked: Marked,
        onChanged: Callable[[], None],
    ) -> None:
        self.ui, self._grower, self._shelf, self._teller, self._marked = ui, grower, shelf, teller, marked
        self._onChanged = onChanged
        ui.loadPresetButton.connect("clicked(bool)", self._askAndLoad)
        ui.savePresetButton.connect("clicked(bool)", self._askAndSave)
        ui.removePresetButton.connect("clicked(bool)", self.remove)
        ui.addReferenceButton.connect("clicked(bool)", self.addReference)
        ui.goBackButton.connect("clicked(bool)", self.goBack)
        ui.presetsList.connect("currentRowChanged(int)", self._onSelected)
        ui.referencesList.connect("itemChanged(QListWidgetItem*)", self._onReferenceTicked)

    def current(self) -> Preset | None:
        """The selected preset."""
        row = self.ui.presetsList.currentRow
        return self._shelf.presets[row] if 0 <= row < len(self._shelf.presets) else None

    def all(self) -> list[Preset]:
        return list(self._shelf.presets)

    def show(self, select: Preset | None = None) -> None:
        """Show all, with one of them selected: the last unless told."""
        items = self.ui.presetsList
        with signalsBlocked(items):
            items.clear()
            for preset in self._shelf.presets:
                item = qt.QListWidgetItem(preset.name)
                item.setToolTip(_history(preset))
                items.addItem(item)
            items.setCurrentRow(len(self._shelf.presets) - 1 if select is None else self._shelf.rowOf(select))
        self._onSelected()

    def updateButtons(self) -> None:
        busy, preset = self._grower.busy, self.current()
        add = [
            (preset is None, _("Encode a first reference or load a preset.")),
            running(busy),
            *self._marked.obstacles(),
        ]
        tip = _("Learn from the reference volume above too: the selected preset then knows one more patient.")
        enable(self.ui.addReferenceButton, add, tip)
        back = [
            (preset is None or not preset.history, _("There is no earlier state of this preset.")),
            running(busy),
        ]
        change = preset.history[-1].what if preset and preset.history else ""
        enable(self.ui.goBackButton, back, _("Undo the latest change of this preset: {change}.").format(change=change))
        self.ui.referencesList.enabled = not busy
        none = [(preset is None, _("There is no preset yet."))]
        enable(self.ui.savePresetButton, none, _("Save the selected preset to a file; it holds no image."))
        enable(self.ui.removePresetButton, none, _("Remove the selected preset from this list; files stay."))

    def addReference(self) -> None:
        marked = self._marked
        tell = self._teller.begin()
        with self._teller.errorsInWords():
            self._grower.addReference(
                self.current(), marked.volume, marked.segmentation, marked.tickedSegments(),
                tell, self._onReferenceAdded, self._teller.fail,
            )  # fmt: skip

    def load(self, path: str | Path) -> None:
        with self._teller.errorsInWords():
            preset = self._grower.loadPreset(path)
            self.show()
            self._teller.end(_("The preset '{name}' is loaded.").format(name=preset.name))

    def save(self, path: str | Path) -> None:
        with self._teller.errorsInWords():
            self._grower.savePreset(self.current(), path)
            self._teller.end(_("The preset is saved as {path}.").format(path=path))

    def remove(self) -> None:
        self._shelf.remove(self.current())
        self.show()

    def goBack(self) -> None:
        change = self.current().history[-1].what
        self.show(select=self._shelf.goBack(self.current()))
        self._teller.end(_("The preset is as it was before: {change}.").format(change=change))

    def _askAndLoad(self) -> None:
        path = fileToOpen(_("Load preset"), str(settings.presetFolder()), PRESET_FILES)
        if path:
            self.load(path)

    def _askAndSave(self) -> None:
        from ...context.library import safe_stem  # needs safetensors, which is there when a preset is

        suggestion = settings.presetFolder() / f"{safe_stem(self.current().name)}.iris"
        path = fileToSave(_("Save preset"), str(suggestion), PRESET_FILES)
        if path:
            self.save(path)

    def _onReferenceAdded(self, preset: Preset) -> None:
        self.show(select=preset)
        words = _("The preset '{name}' now knows {count} references.")
        self._teller.end(words.format(name=preset.name, count=len(preset.references)))

    def _onSelected(self) -> None:
        preset = self.current()
        if preset is None:
            self.ui.presetLabel.text = _("No preset yet: encode a reference or load a preset.")
        else:
            from ...context.caution import caution  # needs safetensors, which is there when a preset is

            names = ", ".join(segment.name for segment in preset.segments)
            self.ui.presetLabel.text = f"{_('Finds: {segments}').format(segments=names)}\n{caution(preset)}".strip()
        self._showReferences()
        self._onChanged()

    def _showReferences(self) -> None:
        items, preset = self.ui.referencesList, self.current()
        with signalsBlocked(items):
            items.clear()
            for number, reference in enumerate(preset.references if preset else ()):
                volume = self._shelf.volumeNameOf(reference)
                words = _("Reference {number}: {volume}") if volume else _("Reference {number}")
                item = qt.QListWidgetItem(words.format(number=number + 1, volume=volume))
                setTicked(item, reference.enabled)
                items.addItem(item)

    def _onReferenceTicked(self, item: qt.QListWidgetItem) -> None:
        self._shelf.switchReference(self.current(), self.ui.referencesList.row(item), isTicked(item))
        self._onChanged()


def _history(preset: Preset) -> str:
    """What a preset went through, a line each."""
    lines = [_("Made {day}").format(day=preset.created[:10])]
    lines += [f"{version.what} {version.when[:10]} {version.when[11:16]} UTC" for version in preset.history]
    return "\n".join(lines)
