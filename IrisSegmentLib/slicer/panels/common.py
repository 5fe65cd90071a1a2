"""What the sections of the panel share: buttons that say why they are off, ticks, colors, the choice of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

ROW = 22  # pixels, the height of a row of one line
Obstacle = tuple[bool, str]  # whether it is in the way, and what a person can do about it


class Teller(Protocol):
    """Who tells a person how work goes: `ProgressPanel`."""

    def begin(self) -> Callable[[float, str], None]: ...
    def end(self, words: str) -> None: ...
    def fail(self, sentence: str) -> None: ...
    def errorsInWords(self) -> AbstractContextManager[None]: ...


def enable(button: qt.QPushButton, obstacles: Iterable[Obstacle], tip: str) -> None:
    """Enable a button unless something is in the way; its tooltip says what, or else what the button does."""
    obstacle = next((words for inTheWay, words in obstacles if inTheWay), None)
    button.enabled = obstacle is None
    keys = button.shortcut.toString()
    button.toolTip = obstacle or (f"{tip} ({keys})" if keys else tip)


def running(busy: bool) -> Obstacle:
    return (busy, _("Wait for the running work, or cancel it."))


@contextmanager
def signalsBlocked(widget: qt.QWidget) -> Iterator[None]:
    """While a list or table is filled: what we write is nobody's click."""
    widget.blockSignals(True)
    try:
        yield
    finally:
        widget.blockSignals(False)


def isTicked(item: Any) -> bool:
    """Whether a list's or table's item is ticked."""
    return item.checkState() == qt.Qt.Checked


def setTicked(item: Any, ticked: bool) -> None:
    item.setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)


def setUpTable(table: qt.QTableWidget, headings: Sequence[str]) -> None:
    """Rows of one line under these headings. Names that do not fit lose their middle: they differ at their ends."""
    table.setColumnCount(len(headings))
    table.setHorizontalHeaderLabels(headings)
    table.verticalHeader().hide()
    table.verticalHeader().defaultSectionSize = ROW
    table.setWordWrap(False)
    table.setTextElideMode(qt.Qt.ElideMiddle)
    table.horizontalHeader().highlightSections = False


def colorIcon(color: Sequence[float]) -> qt.QIcon:
    """A square of a color, given as red, green, blue in 0..1."""
    pixmap = qt.QPixmap(14, 14)
    pixmap.fill(qt.QColor.fromRgbF(*color))
    return qt.QIcon(pixmap)


def fileToOpen(title: str, folder: str, kinds: str) -> str:
    """The path that a person chooses; empty when they choose none."""
    return _path(qt.QFileDialog.getOpenFileName(None, title, folder, kinds))


def fileToSave(title: str, suggestion: str, kinds: str) -> str:
    """The path that a person chooses; empty when they choose none."""
    return _path(qt.QFileDialog.getSaveFileName(None, title, suggestion, kinds))


def _path(answer: str | Sequence[str]) -> str:
    return answer if isinstance(answer, str) else answer[0]  # newer Qt bindings give the filter as well
