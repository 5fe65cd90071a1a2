"""A whole archive segmented with one preset; a run that was interrupted goes on."""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..context.preset import Preset
from ..errors import IrisError
from .cases import Case, find_cases
from .extras import needs
from .identity import stamp_of, task_hash
from .outcome import DONE, Outcome
from .place import place_for
from .records import Records
from .report import NAME as REPORT
from .report import write_report
from .results import write_results
from .segmenting import Segmenting
from .work import Failure, Place

EVERY = 60.0  # seconds between tables and pages of an unfinished run, and no less than so many times what they take:
SHARE = 50
Show = Callable[[float, str], None]


class Run:
    """
    :param options: as `arguments` has them.
    :raises IrisError: when the preset or the output folder cannot be used, or an argument makes no sense.

    Example::

        run = Run(options)
        with run.records.held(), run.place as place:
            outcomes = run.do(cases, place, Bar("Batch"))
    """

    def __init__(self, options: argparse.Namespace) -> None:
        needs("pyarrow")
        if options.dicom:
            needs("highdicom")
        self.preset = Preset.load(options.preset)
        self.task = task_hash(self.preset)
        output = options.output.absolute()
        network = None if options.network is None else options.network.absolute()
        work = Segmenting(self.preset.to_bytes(), self.task, network, options.device, output, options.dicom)
        self.place = place_for(options, work)
        self.records = Records(make_folder(output), options.dicom)

    def do(self, cases: Sequence[Case], place: Place, show: Show) -> list[Outcome]:
        """Do what is not finished yet; an outcome for every case.

        :raises IrisError: when no further case can be done.
        """
        outcomes = {case.name: known for case in cases if (known := self.records.finished(case, self.task))}
        todo = [case for case in cases if case.name not in outcomes]
        if outcomes and todo:
            print(f"Going on after {len(outcomes)} finished cases.", flush=True)
        written = time.monotonic()
        for n, (case, answer) in enumerate(place.run(todo)):
            outcomes[case.name] = self._recorded(case, answer)
            show((n + 1) / len(todo), case.name)
            started = time.monotonic()
            if started - written > EVERY:
                self.publish(list(outcomes.values()))
                written = time.monotonic() + SHARE * (time.monotonic() - started)
        return [outcomes[case.name] for case in cases]

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Write the table and the page.

        :raises IrisError: when the folder cannot be written to.
        """
        write_results(outcomes, self.preset, self.records.output)
        write_report(outcomes, self.preset, self.records.output, self._picture)

    def _picture(self, case: str) -> bytes:
        known = self.records.get(case)
        return known.picture if known else b""

    def _recorded(self, case: Case, answer: Outcome | Failure) -> Outcome:
        if isinstance(answer, Failure):
            aside = Outcome.aside(case, stamp_of(case.image), self.task, answer.reason)
            return self.records.set_aside(aside)
        return answer


def batch(options: argparse.Namespace, show: Show) -> None:
    """`irissegment batch`.

    :raises IrisError: when it cannot begin or go on; and at its end, when cases were set aside.
    """
    cases = find_cases(options.data, options.only)
    run = Run(options)
    with stopped_when_told(), run.records.held(), run.place as place:
        outcomes = run.do(cases, place, show)
        run.publish(outcomes)
    aside = [outcome for outcome in outcomes if outcome.state != DONE]
    print(f"{options.output}: {len(outcomes) - len(aside)} of {len(outcomes)} cases done; see {REPORT}", flush=True)
    if aside:
        reason = aside[0].reason.rstrip(".")
        raise IrisError(
            f"{len(aside)} of {len(outcomes)} cases were set aside, '{aside[0].case}' first ({reason}); "
            f"{options.output / REPORT} has them all."
        )


def make_folder(folder: Path) -> Path:
    """:raises IrisError: when the folder that is to hold it is missing, or it cannot be made."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise IrisError(f"The folder '{folder}' cannot be made ({error.strerror}); choose another.") from error
    return folder


@contextlib.contextmanager
def stopped_when_told() -> Iterator[None]:
    """A service that is told to end ends as by Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
