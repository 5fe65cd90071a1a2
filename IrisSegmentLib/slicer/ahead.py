"""What the first click needs is imported before it, a little at a time, while nobody waits."""

from __future__ import annotations

from importlib import import_module

import qt

from .install import missingPackages

# In this order each takes a few milliseconds, all together they would hold the application for a blink.
MODULES = (
    "ssl",
    "http.client",
    "subprocess",
    "safetensors.numpy",
    "..imaging.volume",
    "..context.appearance",
    "..context.arrangement",
    "..context.levels",
    "..context.preset",
    "..context.library",
    "..engine.transport",
    "..engine.exchange",
    "..engine.messages",
    "..engine.elsewhere",
    "..engine.client",
    ".marks",
    ".process",
    ".region",
    ".results",
    ".sequences",
    ".session",
)


class Ahead:
    """Starts at once, unless packages are missing, and stops when all is there.

    Example::

        ahead = Ahead()
        ahead.close()   # with the panel
    """

    def __init__(self) -> None:
        self._left = [] if missingPackages() else list(MODULES)
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._importOne)
        self._timer.start()

    def close(self) -> None:
        self._timer.stop()

    def _importOne(self) -> None:
        if self._left:
            import_module(self._left.pop(0), __package__)
        else:
            self._timer.stop()
