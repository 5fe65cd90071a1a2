"""A process that is asked for jobs on its standard input and answers on its standard output, in JSON lines."""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import TextIO

from ..errors import IrisError
from .messages import Message, from_line, to_line
from .progress import Cancelled, Progress


class LineServer(ABC):
    """
    :param folder: where arrays are exchanged; made by the client, private to its user.
    """

    def __init__(self, folder: Path, lines: TextIO, out: TextIO) -> None:
        self._folder, self._out = folder, out
        self._jobs: queue.Queue[Message | None] = queue.Queue()
        self._progress: dict[int, Progress] = {}
        self._lock = threading.Lock()
        # Lines are read beside the computing, so that a cancel is heard while a job runs.
        threading.Thread(target=self._listen, args=(lines,), daemon=True).start()

    @abstractmethod
    def answer(self, message: Message, progress: Progress) -> Message:
        """What one job comes to.

        :raises IrisError: for bad input; its sentence goes to the client.
        :raises Cancelled: when the progress was cancelled.
        """

    @abstractmethod
    def in_words(self, error: Exception) -> str:
        """A sentence for what nobody foresaw; the log has the whole story already."""

    def serve(self) -> None:
        """Work through the jobs until the client goes away."""
        while (message := self._jobs.get()) is not None:
            self._serve_one(message)

    def progress_of(self, job: int) -> Progress:
        return Progress(partial(self._tell, job))

    def say(self, message: Message) -> None:
        with self._lock:
            try:
                self._out.write(to_line(message))
                self._out.flush()
            except BrokenPipeError:
                self._leave()

    def _listen(self, lines: TextIO) -> None:
        for line in lines:
            message = from_line(line)
            if message is None:
                continue
            job = message["job"]
            if message.get("verb") == "cancel":
                if job in self._progress:
                    self._progress[job].cancel()
                continue
            self._progress[job] = self.progress_of(job)
            self._jobs.put(message)
        self._leave()  # the parent is gone: nothing that still runs has anyone to answer to

    def _serve_one(self, message: Message) -> None:
        job = int(message["job"])
        try:
            self.say({"job": job, "done": self.answer(message, self._progress[job])})
        except Cancelled:
            self.say({"job": job, "cancelled": True})
        except IrisError as error:
            self.say({"job": job, "error": str(error)})
        except Exception as error:  # the client is told in a sentence, the log keeps the whole story
            traceback.print_exc()
            self.say({"job": job, "error": self.in_words(error)})
        finally:
            del self._progress[job]

    def _tell(self, job: int, fraction: float, text: str) -> None:
        self.say({"job": job, "progress": fraction, "text": text})

    def _leave(self) -> None:
        """End without the parent, which can no longer remove the scans that it handed over."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)


def standard_output() -> TextIO:
    """Standard output for messages only: whatever a library prints goes to standard error from now on."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out
