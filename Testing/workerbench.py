"""A worker to ask things of, in tests."""

import time
from pathlib import Path

from IrisSegmentLib.engine.client import EngineClient
from IrisSegmentLib.engine.transport import ProcessTransport


class Bench:
    """A client on a real worker process, and what it was told."""

    def __init__(self, network: Path | None, **options) -> None:
        self.transport = ProcessTransport()
        self.client = EngineClient(self.transport, network=network, **{"device": "cpu", **options})
        self.told: list[tuple] = []

    def ask(self, verb, *arguments, **words):
        callbacks = {
            "on_progress": lambda fraction, text: self.told.append(("progress", fraction, text)),
            "on_done": lambda value: self.told.append(("done", value)),
            "on_error": lambda sentence: self.told.append(("error", sentence)),
            "on_cancelled": lambda: self.told.append(("cancelled",)),
        }
        return getattr(self.client, verb)(*arguments, **words, **callbacks)

    def wait(self, *jobs, seconds=60):
        until = time.monotonic() + seconds
        while not all(job.ended for job in jobs):
            assert time.monotonic() < until, [job.state for job in jobs]
            self.transport.pump(0.05)

    def until_progress(self, seconds=60):
        until = time.monotonic() + seconds
        while not any(t[0] == "progress" for t in self.told):
            assert time.monotonic() < until
            self.transport.pump(0.01)

    @property
    def answer(self):
        return next(t[1] for t in reversed(self.told) if t[0] == "done")

    @property
    def errors(self):
        return [t[1] for t in self.told if t[0] == "error"]
