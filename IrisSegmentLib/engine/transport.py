"""How lines reach a worker process and come back on the caller's own thread."""

from __future__ import annotations

import heapq
import itertools
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

OnLine = Callable[[str], None]
OnExit = Callable[[int], None]


class Transport(Protocol):
    """One worker process. Every callback happens on the thread that made the transport."""

    @property
    def running(self) -> bool: ...

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], on_line: OnLine, on_exit: OnExit
    ) -> None:
        """Start the process; ``on_line`` for each line it says, ``on_exit`` with its exit code, once."""

    def write(self, line: str) -> None: ...

    def kill(self) -> None: ...

    def post(self, function: Callable[[], None]) -> None:
        """Call a function soon, on the transport's thread; safe from any thread."""

    def after(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function later, on the transport's thread."""


class ProcessTransport:
    """A transport for programs without an event loop: callbacks happen inside `pump`.

    Example::

        transport = ProcessTransport()
        client = EngineClient(transport)
        job = client.encode(volume, segmentation, name="liver")
        while not job.ended:
            transport.pump(0.1)
    """

    def __init__(self) -> None:
        self._events: queue.Queue[Callable[[], None]] = queue.Queue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._process: subprocess.Popen[str] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], on_line: OnLine, on_exit: OnExit
    ) -> None:
        process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environment), text=True,
            encoding="utf-8",
        )  # fmt: skip
        self._process = process
        threading.Thread(target=self._read, args=(process, on_line, on_exit), daemon=True).start()

    def write(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except (BrokenPipeError, OSError):
                pass  # it died; its exit is on the way and says so

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None  # what is written from now on must go to a new one, not to one that is dying

    def post(self, function: Callable[[], None]) -> None:
        self._events.put(function)

    def after(self, seconds: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), function))

    def pump(self, seconds: float) -> None:
        """Let callbacks happen for up to ``seconds``; returns after the first one."""
        until = time.monotonic() + seconds
        while True:
            if self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
                return
            next_time = min([until, *(t[0] for t in self._timers[:1])])
            try:
                self._events.get(timeout=max(0.0, next_time - time.monotonic()))()
                return
            except queue.Empty:
                if time.monotonic() >= until:
                    return

    def _read(self, process: subprocess.Popen[str], on_line: OnLine, on_exit: OnExit) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.post(lambda line=line: on_line(line))  # type: ignore[misc]
        code = process.wait()
        self.post(lambda: on_exit(code))
