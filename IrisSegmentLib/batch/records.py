"""What is known of each case of an output folder: one small file per case, so that whoever dies, no other case is lost.

A result gets its name last, after its record: a record without a result is a case still to be done, and a result
without a record is somebody's own file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ..context.preset import write_whole
from ..errors import IrisError
from ..imaging.files import DICOM
from ..network.weights import file_hash
from .cases import Case
from .identity import stamp_of
from .outcome import ASIDE, DONE, Outcome

HIDDEN = ".irissegment"


class Records:
    """
    :param output: the folder of results; must be there.
    :param dicom: results are DICOM SEG.

    Example::

        records = Records(output)
        with records.held():
            if records.finished(case, task) is None: ...
    """

    def __init__(self, output: Path, dicom: bool = False) -> None:
        self.output, self._ending = output, DICOM if dicom else ".seg.nrrd"
        self._cases = output / HIDDEN / "cases"
        self._parts = output / HIDDEN / "parts"  # what is being written; nothing in it matters once its writer is gone

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the folder, as long as this process lives.

        :raises IrisError: when another run has it, or it cannot be written to.
        """
        try:
            self._cases.mkdir(parents=True, exist_ok=True)
            lock = (self.output / HIDDEN / "lock").open("w")
        except OSError as error:
            words = f"The folder '{self.output}' cannot be written to ({error.strerror}); choose another."
            raise IrisError(words) from error
        with lock:
            _lock(lock.fileno(), self.output)
            self._tidy()
            yield
            self._tidy()

    def get(self, name: str) -> Outcome | None:
        """What is known of a case; None for nothing, or a record that someone damaged."""
        try:
            return Outcome.of_words(json.loads((self._cases / f"{name}.json").read_bytes()))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def all(self, task: str) -> list[Outcome]:
        """Of a task, without pictures."""
        found = (self.get(path.name.removesuffix(".json")) for path in sorted(self._cases.glob("*.json")))
        return [outcome.bare() for outcome in found if outcome is not None and outcome.task == task]

    def result(self, name: str) -> Path:
        return self.output / f"{name}{self._ending}"

    def finished(self, case: Case, task: str) -> Outcome | None:
        """Its outcome when it is known, without a look into the scan, to be done: the same file, not written to since,
        for the same task, and the result is there."""
        known = self.get(case.name)
        return known.bare() if known and known.state == DONE and self._current(known, case, task) else None

    def tried(self, case: Case, task: str) -> bool:
        """Whether there is nothing new about a case: it is finished, or the same file was set aside."""
        known = self.get(case.name)
        return known is not None and self._current(known, case, task)

    def _current(self, known: Outcome, case: Case, task: str) -> bool:
        stamp = stamp_of(case.image)
        same = bool(stamp) and (known.stamp, known.image, known.task) == (stamp, str(case.image), task)
        return same and (known.state == ASIDE or self.result(case.name).exists())

    def finished_by(self, case: Case, identity: str) -> Outcome | None:
        """Its outcome when the content of the scan is known, for the same task, and the result is there."""
        known = self.get(case.name)
        done = known is not None and known.state == DONE and known.identity == identity
        return known if done and self.result(case.name).exists() else None

    def in_the_way(self, name: str) -> bool:
        """Whether there is a result that no run of ours wrote, or that was changed since: a person's work."""
        path, known = self.result(name), self.get(name)
        return path.exists() and (known is None or known.result != file_hash(path))

    def part(self, name: str) -> Path:
        """Where a result is written, to be given its name by `keep`."""
        return self._parts / f"{os.getpid()}-{self.result(name).name}"

    def keep(self, outcome: Outcome, write: Callable[[], None]) -> Outcome:
        """Write a result and its record.

        :param write: writes the `part`.
        :raises IrisError: when the folder cannot be written to.
        """
        path = self.result(outcome.case)
        try:
            part = self.part(outcome.case)
            self._parts.mkdir(parents=True, exist_ok=True)
            write()
            outcome = replace(outcome, result=file_hash(part))
            path.unlink(missing_ok=True)  # an older result must not pass for the new record's
            self.put(outcome)
            os.replace(part, path)
        except OSError as error:
            raise IrisError(f"'{path}' could not be written ({error.strerror}); choose another folder.") from error
        return outcome

    def put(self, outcome: Outcome) -> None:
        """:raises IrisError: when the folder cannot be written to."""
        write_whole(self._cases / f"{outcome.case}.json", json.dumps(outcome.words()).encode())

    def set_aside(self, outcome: Outcome) -> Outcome:
        """Record a case that could not be done. What an earlier run wrote for it stays, and stays known as ours."""
        known = self.get(outcome.case)
        outcome = replace(outcome, result=known.result if known else "")
        self.put(outcome)
        return outcome

    def _tidy(self) -> None:
        shutil.rmtree(self._parts, ignore_errors=True)
        for part in self._cases.glob(".*.part"):
            part.unlink(missing_ok=True)


def _lock(handle: int, folder: Path) -> None:
    """The system lets go of it when the process ends, however it ends. Windows has no such lock, and no Ray either."""
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IrisError(f"Another run is writing into '{folder}'; wait for it, or choose another.") from error
        except OSError:  # a network share without locks: every file is written whole all the same
            return
