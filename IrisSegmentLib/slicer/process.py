"""The worker process driven by Qt: lines arrive as events of the application, and nothing waits."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt

from ..engine.transport import OnExit, OnLine

POLL_MS = 15  # how soon work handed over by another thread is seen
_dying: list[qt.QProcess] = []  # killed and not gone yet, kept because destroying a QProcess waits for its end


class QtTransport:
    """A `Transport` on QProcess. Functions posted from other threads are picked up by a timer on the main thread,
    because Qt's own objects must not be touched from a Python thread."""

    def __init__(self) -> None:
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._runPosted)
        self._timer.start()
        self._process: Any = None  # a QProcess
        self._signals = {
            "readyReadStandardOutput()": self._read,
            "finished(int,QProcess::ExitStatus)": self._finished,
            "errorOccurred(QProcess::ProcessError)": self._failed,
        }
        self._pending = b""
        self._onLine: OnLine | None = None
        self._onExit: OnExit | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.state() != qt.QProcess.NotRunning

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], on_line: OnLine, on_exit: OnExit
    ) -> None:
        process = qt.QProcess()
        variables = qt.QProcessEnvironment()
        for key, value in environment.items():
            variables.insert(key, value)
        process.setProcessEnvironment(variables)
        process.setProcessChannelMode(qt.QProcess.ForwardedErrorChannel)
        self._pending, self._onLine, self._onExit = b"", on_line, on_exit
        for signal, slot in self._signals.items():
            process.connect(signal, slot)
        _dying[:] = [p for p in _dying if p.state() != qt.QProcess.NotRunning]
        self._process = process
        process.start(command[0], list(command[1:]))

    def write(self, line: str) -> None:
        if self.running:
            self._process.write(line.encode())

    def kill(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        # Its end is nobody's news any more, and nobody waits for it: freeing a network's memory takes a while.
        for signal, slot in self._signals.items():
            process.disconnect(signal, slot)
        process.kill()
        _dying.append(process)

    def close(self) -> None:
        """Kill the process and stop listening for posted work."""
        self.kill()
        self._timer.stop()

    def post(self, function: Callable[[], None]) -> None:
        self._posted.put(function)

    def after(self, seconds: float, function: Callable[[], None]) -> None:
        qt.QTimer.singleShot(int(seconds * 1000), function)

    def _runPosted(self) -> None:
        # One a tick: each may write into the scene, and the application draws in between.
        try:
            function = self._posted.get_nowait()
        except queue.Empty:
            return
        function()

    def _read(self) -> None:
        if self._process is None:
            return
        raw = self._process.readAllStandardOutput().data()
        self._pending += raw if isinstance(raw, bytes) else raw.encode()
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            self._onLine(line.decode("utf-8", "replace"))

    def _finished(self, exitCode: int = 0, exitStatus: object = None) -> None:
        self._read()
        self._onExit(int(exitCode))

    def _failed(self, error: object) -> None:
        if error == qt.QProcess.FailedToStart:
            self._onExit(-1)
