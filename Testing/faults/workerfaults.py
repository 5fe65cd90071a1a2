"""Faults around the worker process: it, its messages, its folder, its memory, its disk and its graphics card."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from faults.judging import HANG, START, Outcome, SmallDisk, patience, unhelpful, workers

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.engine.client import EngineClient, Job
from IrisSegmentLib.engine.transport import ProcessTransport
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.network import build, save_network

CARD = Path(__file__).with_name("failing_card.py")
YEARS = 3e7  # seconds, about one


class Courier(ProcessTransport):
    """Hands lines on late, when told so: ``late()`` says by how many seconds, each line anew."""

    def __init__(self) -> None:
        super().__init__()
        self.late: Callable[[], float] = lambda: 0.0
        self.starts = 0

    def start(self, command, environment, on_line, on_exit):
        self.starts += 1

        def hear(line):
            seconds = self.late()
            if seconds:
                self.after(seconds, lambda: on_line(line))
            else:
                on_line(line)

        super().start(command, environment, hear, on_exit)

    def write(self, line):
        seconds = self.late()
        if seconds:
            self.after(seconds, lambda: super(Courier, self).write(line))
        else:
            super().write(line)


class WorkerWorld:
    """A client on a real worker in a temporary folder of its own, and the answer that is right."""

    def __init__(self, folder: Path) -> None:
        self.disk = SmallDisk(folder / "temporary", 4)
        self.temporary = self.disk.folder
        os.environ["TMPDIR"], tempfile.tempdir = str(self.temporary), str(self.temporary)
        self.network, self.fate = folder / "tiny.safetensors", folder / "fate"
        save_network(build("tiny"), self.network)
        values = np.random.default_rng(0).normal(size=(48, 40, 32)).astype(np.float32)
        mask = np.zeros(values.shape, np.uint8)
        mask[10:30, 8:25, 6:20] = 1
        values += 3 * mask
        self.image = Volume(values, np.diag([1.0, 1.0, 2.0, 1.0]), "scan")
        self.segmentation = Segmentation(mask[None], self.image.affine, (Segment("box", (1.0, 0.0, 0.0)),), "drawn")
        engine = Engine(self.network, "cpu")
        self.preset = engine.encode(self.image, self.segmentation, name="box")
        self.right = [engine.segment(self.image, self.preset).segmentation.layers]
        self.untouched = self.image.array.copy()
        self.transport = Courier()
        self.client = EngineClient(self.transport, network=self.network, device="cpu")
        self.card: WorkerWorld | None = None
        self.heard = 0
        self.notes: list[str] = []
        self.kinds = {
            name: lambda drawn, fault=fault: self.make(fault, drawn)
            for name, fault in {
                "worker killed": kill, "worker frozen, job cancelled": freeze_and_cancel, "job cancelled": cancel,
                "folder cleaned away": clean_away, "arrays cut or flipped": damage, "lines that are none": babble,
                "messages delayed": delay, "messages reordered": reorder, "clock changed": clock,
                "memory exhausted": exhaust, "disk full": fill, "network damaged": damage_network,
                "no temporary folder": block,
            }.items()
        } | {
            name: lambda drawn, fault=fault: self.on_card().make(fault, drawn)
            for name, fault in {"card out of memory": fill_card, "card lost": lose_card}.items()
        }  # fmt: skip

    def on_card(self) -> WorkerWorld:
        """The same with a simulated graphics card."""
        if self.card is None:
            card = self.card = object.__new__(WorkerWorld)
            vars(card).update(vars(self), transport=Courier(), heard=0, notes=[], right=list(self.right))
            python = (sys.executable, str(CARD), str(self.fate))
            card.client = EngineClient(card.transport, network=self.network, python=python)
            found: list = []
            job = card.client.segment(self.image, self.preset, on_done=found.append)
            assert card.pump_until(lambda: job.ended, 2 * START) and found, job.error
            card.right.append(found[0].segmentation.layers)  # a card may round otherwise than the processor
        return self.card

    def ask(self, drawn: random.Random) -> Job:
        heard = {"on_progress": self._on_progress, "on_note": self.notes.append}
        if drawn.random() < 0.3:
            return self.client.encode(self.image, self.segmentation, name="box", **heard)
        return self.client.segment(self.image, self.preset, **heard)

    def _on_progress(self, fraction: float, text: str) -> None:
        self.heard += 1

    def pump_until(self, done: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + patience(seconds)
        while not done():
            if time.monotonic() > until:
                return False
            self.transport.pump(0.005)
        return True

    @property
    def pid(self) -> int | None:
        process = self.transport._process
        return process.pid if process is not None and process.poll() is None else None

    def make(self, fault: Callable, drawn: random.Random) -> Outcome:
        """One fault, the rest of its job, and the next click."""
        self.notes.clear()
        wrong: list[str] = []
        starts = self.transport.starts
        before = block(self) if fault is block else None  # what must lie there before the job begins
        job = self.ask(drawn)
        mend = before or fault(self, drawn, job)
        started = time.monotonic()
        if not self.pump_until(lambda: job.ended, HANG + START):
            wrong.append("it hung")
        elif self.transport.starts == starts and time.monotonic() - started > patience(HANG):
            wrong.append(f"it took {time.monotonic() - started:.0f} s to end")
        if mend is not None:
            mend()
        if not self.pump_until(lambda: job.ended, HANG):
            wrong.append("it hung even when all was well again")
        said = [*([job.error] if job.state == "failed" else []), *self.notes]
        return Outcome(job.state, said, [*wrong, *unhelpful(said), *self.check()])

    def check(self) -> list[str]:
        """The next click, and what is left; a list of what is wrong."""
        wrong = []
        found: list = []
        job = self.client.segment(self.image, self.preset, on_done=found.append)
        if not self.pump_until(lambda: job.ended, START):
            wrong.append("the next click hung")
        elif job.state != "done":
            wrong.append(f"the next click failed: {job.error}")
        elif not any(np.array_equal(found[0].segmentation.layers, right) for right in self.right):
            wrong.append("the next click gave another answer")
        if not np.array_equal(self.image.array, self.untouched):
            wrong.append("the scan was harmed")
        self.client._mover.submit(lambda: None).result(patience(HANG))
        folder = self.client._exchange._path
        if left := [p.name for p in folder.glob("*")] if folder else []:
            wrong.append(f"left behind: {left}")
        mine = lambda: {p for p in workers(folder) if p != self.pid} if folder else set()  # noqa: E731
        if not self.pump_until(lambda: not mine(), HANG):
            wrong.append(f"{len(mine())} orphans")
        return wrong

    def close(self) -> list[str]:
        """What is left at the very end."""
        for world in (self, *([self.card] if self.card else [])):
            world.client.close()
        until = time.monotonic() + patience(HANG)
        while workers(self.temporary) and time.monotonic() < until:
            time.sleep(0.05)
        wrong = [f"{len(left)} orphans at the end"] if (left := workers(self.temporary)) else []
        return wrong + [f"left at the end: {p.name}" for p in self.temporary.glob("irissegment-*")]


Mend = Callable[[], object] | None  # what makes all well again


def at_some_moment(world: WorkerWorld, drawn: random.Random, job: Job) -> None:
    """Anywhere from before the arrays are written to after the answer was given."""
    if drawn.random() < 0.5:
        messages = world.heard + drawn.randint(1, 6)
        world.pump_until(lambda: world.heard >= messages or job.ended, START)
    else:
        until = time.monotonic() + drawn.uniform(0.0, 1.0)
        world.pump_until(lambda: job.ended or time.monotonic() > until, START)


def kill(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    at_some_moment(world, drawn, job)
    if world.pid is not None:
        os.kill(world.pid, signal.SIGKILL)
    return None


def freeze_and_cancel(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    at_some_moment(world, drawn, job)
    if world.pid is not None and not job.ended:
        os.kill(world.pid, signal.SIGSTOP)
    job.cancel()
    return None


def cancel(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    at_some_moment(world, drawn, job)
    job.cancel()
    return None


def clean_away(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    at_some_moment(world, drawn, job)
    for folder in world.temporary.glob("irissegment-*"):
        shutil.rmtree(folder, ignore_errors=True)
    return None


def damage(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """Cut or flip what passes between the two, as it lies in the folder."""
    at_some_moment(world, drawn, job)
    for path in world.temporary.glob("*/*"):
        with suppress(OSError):
            cut_or_flip(path, drawn)
    return None


def cut_or_flip(path: Path, drawn: random.Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        if drawn.random() < 0.5:
            file.truncate(drawn.randint(0, size))
        else:
            file.seek(drawn.randint(0, min(size, 256)))
            file.write(drawn.randbytes(8))


def babble(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """Lines that are no messages, to the worker."""
    at_some_moment(world, drawn, job)
    world.transport.write(drawn.choice(["\n", "hello\n", "[1]\n", "{}\n", '{"job": 1}\n', '{"job":"x","verb":1}\n']))
    return None


def delay(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """Every line comes late, in its order; at times the job is cancelled meanwhile."""
    seconds = drawn.uniform(0.05, 1.5)
    world.transport.late = lambda: seconds
    if drawn.random() < 0.5:
        at_some_moment(world, drawn, job)
        job.cancel()
    return lambda: setattr(world.transport, "late", lambda: 0.0)


def reorder(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """Lines overtake each other, both ways; at times the job is cancelled meanwhile."""
    world.transport.late = lambda: drawn.uniform(0.001, 0.5)
    if drawn.random() < 0.5:
        at_some_moment(world, drawn, job)
        job.cancel()
    return lambda: setattr(world.transport, "late", lambda: 0.0)


def clock(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """The clock jumps by years, and every file was written in yet another."""
    real, jump = time.time, drawn.choice([-50, -1, 1, 50]) * YEARS
    time.time = lambda: real() + jump
    at_some_moment(world, drawn, job)
    moment = drawn.choice([0, 2**31, 4_000_000_000])
    for path in [*world.temporary.glob("*"), *world.temporary.glob("*/*")]:
        with suppress(OSError):
            os.utime(path, (moment, moment))
    return lambda: setattr(time, "time", real)


def exhaust(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """The worker may take hardly any more memory than it has."""
    at_some_moment(world, drawn, job)
    pid = world.pid
    if pid is None:
        return None
    hard = resource.prlimit(pid, resource.RLIMIT_AS)[1]
    taken = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (taken + drawn.randrange(0, 2**24), hard))

    def mend() -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, (hard, hard))

    return mend


def fill(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """The disk of the temporary folder is full; where we may not make a disk, no file of the worker's may grow."""
    at_some_moment(world, drawn, job)
    leave, pid = drawn.choice([0, 5_000, 100_000]), world.pid
    if world.disk.real:
        world.disk.fill(leave)
        return world.disk.empty
    if pid is None:
        return None
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (leave, hard))

    def mend() -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    return mend


def damage_network(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """The network's file is cut or flipped, and the worker must read it anew."""
    whole = world.network.read_bytes()
    cut_or_flip(world.network, drawn)
    kill(world, drawn, job)
    return lambda: world.network.write_bytes(whole)


def block(world: WorkerWorld) -> Mend:
    """The folder was cleaned away and cannot be made again: a file lies where it should be."""
    blocked = world.fate.with_name("blocked")
    blocked.write_bytes(b"")
    for folder in world.temporary.glob("irissegment-*"):
        shutil.rmtree(folder, ignore_errors=True)
    tempfile.tempdir = str(blocked)
    return lambda: setattr(tempfile, "tempdir", str(world.temporary))


def fill_card(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    """No memory is left on the graphics card; the worker goes on without it, so a new one is due afterwards."""
    return _card(world, drawn, job, "full")


def lose_card(world: WorkerWorld, drawn: random.Random, job: Job) -> Mend:
    return _card(world, drawn, job, "lost")


def _card(world: WorkerWorld, drawn: random.Random, job: Job, fate: str) -> Mend:
    at_some_moment(world, drawn, job)
    world.fate.write_text(fate)

    def mend() -> None:
        world.fate.unlink()
        if world.notes and world.pid is not None:  # the processor computes from now on
            os.kill(world.pid, signal.SIGKILL)

    return mend
