"""How long work will still take."""

from __future__ import annotations

import time

from slicer.i18n import tr as _


class TimeLeft:
    """Reckons from the first share that was told: a download may go on at half. While the share stands still, others
    are at work, and that time does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last = (0.0, 0.0)

    def seconds(self, fraction: float) -> float | None:
        """How long it will still take, or None while nobody can say.

        :param fraction: the share that is done, 0..1.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = (now, fraction)
        began, first = self._first
        (before, share), self._last = self._last, (now, fraction)
        if share == fraction > first:
            self._first = (began + now - before, first)
            return None
        if fraction - first < 0.02:
            return None
        return (now - began) * (1 - fraction) / (fraction - first)

    def words(self, fraction: float) -> str:
        """As `seconds`, in words; empty while nobody can say or when it is as good as over."""
        left = self.seconds(fraction)
        if left is None or left < 1:
            return ""
        if left < 90:
            return _("{count} s").format(count=round(left))
        return _("{count} min").format(count=round(left / 60))
