"""On this machine, without Ray: in one process beside the terminal's, so that a scan that kills it does not end the
run, and Ctrl-C is heard while a library computes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from ..errors import IrisError
from .cases import Case
from .work import RETRIES, Stop, Work, Worker, died


class Here:
    """
    :param threads: of torch; None leaves it to torch.

    Example::

        with Here(work, None) as place:
            for case, answer in place.run(cases): ...
    """

    def __init__(self, work: Work, threads: int | None) -> None:
        self._work, self._threads = work, threads
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def run(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Any]]:
        """As `Place.run`; in the order of the cases."""
        for case in cases:
            answer = self._tried(case)
            if isinstance(answer, Stop):
                raise IrisError(answer.reason)
            yield case, answer

    def _tried(self, case: Case) -> Any:
        code: object = None
        for _ in range(1 + RETRIES):
            try:
                pipe = self._started()
                pipe.send(case)
                return pipe.recv()
            except (EOFError, OSError):
                code = self._end()
        return died(f"exit code {code}")

    def _started(self) -> Connection:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")  # a fork would inherit locks that torch's threads hold
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self._work, self._threads), daemon=True)
            self._process.start()
            theirs.close()  # else its death would not be heard
        return self._pipe

    def _end(self) -> int | None:
        """The exit code that it had already, if any."""
        code = None
        if self._process is not None:
            self._process.join(0.2)
            code = self._process.exitcode
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
        return code


def _serve(pipe: Connection, work: Work, threads: int | None) -> None:
    """Until the other end is closed, also by the death of who held it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the other end decides
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    worker = Worker(work, threads)
    try:
        while True:
            pipe.send(worker.do(pipe.recv()))
    except (EOFError, OSError):
        return
