"""How long work tells where it is, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable


class Cancelled(Exception):
    """The work was stopped because someone asked for it; nothing was written."""


class Progress:
    """Passed into long work, which reports to it between steps.

    :param show: called with the share done (0..1) and what is being done, in plain words.

    Example::

        progress = Progress(lambda fraction, text: print(f"{fraction:.0%} {text}"))
        engine.segment(volume, preset, progress=progress)   # elsewhere: progress.cancel()
    """

    def __init__(self, show: Callable[[float, str], None] | None = None) -> None:
        self._show = show
        self._cancelled = False

    def cancel(self) -> None:
        """Ask the work to stop at its next step; safe from any thread."""
        self._cancelled = True

    def part(self, low: float, high: float) -> Progress:
        """For a part of the work, from ``low`` to ``high`` of the whole; cancelled with the whole."""
        return Progress(lambda fraction, text: self.report(low + (high - low) * fraction, text))

    def report(self, fraction: float, text: str) -> None:
        """
        :raises Cancelled: when `cancel` was called.
        """
        if self._cancelled:
            raise Cancelled
        if self._show is not None:
            self._show(fraction, text)
