"""Where the strategy is chosen: how the references of a preset, or those of a file, are put to use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .. import settings
from ..wish import OF_A_FILE, Wish
from .common import enable, fileToOpen

REFERENCE_FILES = _("Pools and memory banks (*.irispool *.irisbank)")
STRATEGIES = {
    "ensemble": _("All references together"),
    "one-shot": _("The first reference alone"),
    "object-retrieval": _("The most similar of a pool, per segment"),
    "image-retrieval": _("The most similar of a pool, per scan"),
    "memory-bank": _("A memory bank"),
}


class StrategyPanel:
    """The strategy, and for some the file of its references.

    :param onChanged: called when something changed that buttons depend on.
    """

    def __init__(self, ui: Any, onChanged: Callable[[], None]) -> None:
        self.ui, self._onChanged = ui, onChanged
        for strategy, words in STRATEGIES.items():
            ui.strategyBox.addItem(words, strategy)
        ui.strategyBox.setCurrentIndex(list(STRATEGIES).index(settings.strategy()))
        ui.strategyBox.connect("currentIndexChanged(int)", self._onChosen)
        ui.sourceButton.connect("clicked(bool)", self._askForFile)

    def wish(self) -> Wish:
        """What is chosen."""
        strategy = settings.strategy()
        return Wish(strategy=strategy, source=settings.strategySource() if strategy in OF_A_FILE else None)

    def useFile(self, path: str | Path) -> None:
        """Take the references from a pool or a memory bank."""
        settings.useStrategySource(Path(path))
        self._onChanged()

    def updateButtons(self) -> None:
        source, needed = settings.strategySource(), settings.strategy() in OF_A_FILE
        self.ui.sourceButton.text = source.name if source and needed else _("Choose a pool or bank...")
        unused = [(not needed, _("The references of the preset are used."))]
        enable(self.ui.sourceButton, unused, _("The file of references, made on the command line."))

    def _onChosen(self, row: int) -> None:
        settings.useStrategy(list(STRATEGIES)[row])
        self._onChanged()

    def _askForFile(self) -> None:
        path = fileToOpen(_("Take references from"), "", REFERENCE_FILES)
        if path:
            self.useFile(path)
