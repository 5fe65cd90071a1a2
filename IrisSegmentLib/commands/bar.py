"""How far a command is, in the terminal."""

from __future__ import annotations

import sys
import time


class Bar:
    """A progress bar with time left on standard error; silent when that is not a terminal."""

    def __init__(self, whole: str) -> None:
        self._whole, self._started = whole, time.monotonic()

    def __call__(self, fraction: float, text: str) -> None:
        if not sys.stderr.isatty():
            return
        passed = time.monotonic() - self._started
        left = f", {passed * (1 - fraction) / fraction:.0f} s left" if 0.02 < fraction < 1 else ""
        filled = int(24 * fraction)
        line = f"{self._whole} [{'#' * filled}{'.' * (24 - filled)}] {fraction:4.0%}{left}  {text}"
        print(f"\r{line[:118]:<118}", end="\n" if fraction >= 1 else "", file=sys.stderr, flush=True)
