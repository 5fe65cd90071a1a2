"""What is done with each case, and how it may fail: the case's own fault, or one that every case would meet."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import IrisError
from .cases import Case

RETRIES = 2  # of a case that failed for no fault that a person can mend, before it is set aside


class Work(Protocol):
    """Sent, as it is, to where the work is done."""

    def prepare(self) -> None:
        """Load what all cases need, once.

        :raises IrisError: when no case can be done.
        """

    def do(self, case: Case) -> Any:
        """
        :raises IrisError: when no further case can be done either; what is wrong with the case is part of the answer.
        """


class Place(Protocol):
    """Where work is done: `Here` or `Cluster`. A context, so that it leaves nothing behind."""

    def run(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Any]]:
        """Each case with the work's answer, or a `Failure`, in the order in which they end.

        :raises IrisError: when no further case can be done.
        """

    def __enter__(self) -> Place: ...

    def __exit__(self, *error: object) -> None: ...


@dataclass(frozen=True)
class Failure:
    """
    :param reason: why a case could not be done, in words.
    """

    reason: str


@dataclass(frozen=True)
class Stop:
    """
    :param reason: why no further case can be done, in a sentence.
    """

    reason: str


class Worker:
    """Does one case after the other, in a process that may die of any of them.

    :param threads: of torch; None leaves it to torch.
    """

    def __init__(self, work: Work, threads: int | None) -> None:
        self._work, self._threads, self._prepared = work, threads, False

    def prepare(self) -> Stop | None:
        """Also happens with the first case, for a worker that took the place of one that died."""
        if self._prepared:
            return None
        try:
            if self._threads is not None:
                import torch

                torch.set_num_threads(self._threads)
            self._work.prepare()
        except IrisError as error:
            return Stop(str(error))
        self._prepared = True
        return None

    def do(self, case: Case) -> Any:
        """The work's answer, a `Failure` or a `Stop`."""
        stop = self.prepare()
        if stop is not None:
            return stop
        for _ in range(1 + RETRIES):
            try:
                return self._work.do(case)
            except IrisError as error:
                return Stop(str(error))
            except Exception as error:  # thousands of other cases wait; the log has the whole story
                from ..engine.device import beyond_repair

                traceback.print_exc()
                if beyond_repair(error):
                    os._exit(1)  # the place starts another, which tries again
                words = (str(error).splitlines() or [""])[0]
                failure = Failure(f"The computation failed ({type(error).__name__}: {words[:200]}).")
        return failure


def died(code: object) -> Failure:
    """What is said of a case whose every worker died."""
    return Failure(f"It ended the process that worked on it {1 + RETRIES} times ({code}), perhaps for lack of memory.")
