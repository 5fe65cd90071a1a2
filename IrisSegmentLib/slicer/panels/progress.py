"""The section that tells how work goes, and ends it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from slicer.i18n import tr as _

from ...errors import IrisError
from .common import enable
from .timeleft import TimeLeft


class Work(Protocol):
    """What can run: the worker on scans, and the download of a network."""

    @property
    def busy(self) -> bool: ...
    @property
    def fetching(self) -> bool: ...
    def cancel(self) -> None: ...
    def cancelFetching(self) -> None: ...


class ProgressPanel:
    """The bar, the words, the time left and Cancel.

    :param onChanged: called when work began, failed or ended, for buttons depend on it.

    Example::

        with progress.errorsInWords():
            logic.encode(..., progress.begin(), onDone, progress.fail)
    """

    def __init__(self, ui: Any, work: Work, onChanged: Callable[[], None]) -> None:
        self.ui, self._work, self._onChanged = ui, work, onChanged
        self._note = ""
        self.failures: deque[str] = deque(maxlen=20)  # sentences, the latest last
        ui.cancelButton.connect("clicked(bool)", self.cancel)

    def begin(self) -> Callable[[float, str], None]:
        """Tell that work starts; what is returned tells how far it is (share 0..1, plain words)."""
        self.ui.progressBar.value = 0
        self.ui.statusLabel.text = _("Starting...")
        clock = TimeLeft()
        return lambda fraction, words: self._tell(fraction, words, clock)

    def note(self, sentence: str) -> None:
        """What a person should read as well when the work that runs has ended."""
        self.failures.append(sentence)
        self._note = sentence

    def end(self, words: str) -> None:
        """Tell how it ended."""
        self.ui.statusLabel.text = f"{words} {self._note}".strip()
        self._note = ""
        if self._work.busy:  # one thing ended while another goes on: the bar is its from now on
            self.ui.progressBar.value = 0
        self._onChanged()

    def fail(self, sentence: str) -> None:
        """Tell what went wrong; empty when it was stopped."""
        if sentence:
            self.failures.append(sentence)
        self.end(sentence or _("Stopped."))

    @contextmanager
    def errorsInWords(self) -> Iterator[None]:
        """Bad input becomes a sentence in the panel; programming errors stay loud."""
        try:
            yield
        except IrisError as error:
            logging.info("IrisSegment: %s", error)
            self.fail(str(error))
        else:
            self._onChanged()

    def cancel(self) -> None:
        if self._work.busy:
            self._work.cancel()
        else:
            self._work.cancelFetching()
        self.fail("")

    def updateButtons(self) -> None:
        idle = not self._work.busy and not self._work.fetching
        enable(self.ui.cancelButton, [(idle, _("Nothing is running."))], _("Stop it."))

    def _tell(self, fraction: float, words: str, clock: TimeLeft) -> None:
        self.ui.progressBar.value = int(100 * fraction)
        left = clock.words(fraction)
        self.ui.statusLabel.text = _("{words}, {time} left").format(words=words, time=left) if left else words
        self.ui.cancelButton.enabled = True
