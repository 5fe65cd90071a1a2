"""Files dropped on the panel."""

from __future__ import annotations

from collections.abc import Callable

import qt

EXTENSION = ".iris"


class DropFilter(qt.QObject):
    """Takes preset files that are dragged onto a widget.

    :param onDropped: called with the path of each.

    Example::

        self.filter = DropFilter(panel, library.take)   # kept: Qt holds no reference to it
    """

    def __init__(self, widget: qt.QWidget, onDropped: Callable[[str], None]) -> None:
        qt.QObject.__init__(self)
        self._onDropped = onDropped
        widget.setAcceptDrops(True)
        widget.installEventFilter(self)

    def eventFilter(self, widget: qt.QObject, event: qt.QEvent) -> bool:
        if event.type() not in (qt.QEvent.DragEnter, qt.QEvent.DragMove, qt.QEvent.Drop):
            return False
        paths = [url.toLocalFile() for url in event.mimeData().urls()]
        presets = [path for path in paths if path.lower().endswith(EXTENSION)]
        if not presets:
            return False
        event.acceptProposedAction()
        if event.type() == qt.QEvent.Drop:
            for path in presets:
                self._onDropped(path)
        return True
