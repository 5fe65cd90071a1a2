"""The button that copies what helps to find a fault."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from ..diagnostics import diagnostics


class Chronicle(Protocol):
    """Who remembers what failed: `ProgressPanel`."""

    failures: Iterable[str]

    def end(self, words: str) -> None: ...


class DiagnosticsPanel:
    """Copy diagnostics, nothing else."""

    def __init__(self, ui: Any, chronicle: Chronicle) -> None:
        self._chronicle = chronicle
        ui.diagnosticsButton.connect("clicked(bool)", self.copy)

    def copy(self) -> None:
        qt.QApplication.clipboard().setText(diagnostics(self._chronicle.failures))
        self._chronicle.end(_("The diagnostics are copied: paste them into your report."))
