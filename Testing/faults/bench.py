"""Seeded faults around the real worker: each must end in one sentence, leave nothing, and the next click must work.

    python Testing/faults/bench.py 1000 [SEED]      (make faults N=1000)

Prints, by kind, how many faults were made and what was found wrong; ends with 1 when anything was.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.engine.client import EngineClient, Job
from IrisSegmentLib.engine.transport import ProcessTransport
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.network import build, save_network

HANG = 10.0  # seconds after a fault in which its job must end, without the time that a new worker takes to start
START = 60.0


class Bench:
    """A client on a real worker in a temporary folder of its own, and the answer that is right."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        os.environ["TMPDIR"], tempfile.tempdir = str(self.temporary), None
        network = folder / "tiny.safetensors"
        save_network(build("tiny"), network)
        values = np.random.default_rng(0).normal(size=(48, 40, 32)).astype(np.float32)
        mask = np.zeros(values.shape, np.uint8)
        mask[10:30, 8:25, 6:20] = 1
        values += 3 * mask
        self.image = Volume(values, np.diag([1.0, 1.0, 2.0, 1.0]), "scan")
        self.segmentation = Segmentation(mask[None], self.image.affine, (Segment("box", (1.0, 0.0, 0.0)),), "drawn")
        engine = Engine(network, "cpu")
        self.preset = engine.encode(self.image, self.segmentation, name="box")
        self.right = engine.segment(self.image, self.preset).segmentation.layers
        self.untouched = self.image.array.copy()
        self.transport = ProcessTransport()
        self.client = EngineClient(self.transport, network=network, device="cpu")
        self.heard = 0
        self.workers: set[int] = set()

    def ask(self, random: random.Random) -> Job:
        heard = {"on_progress": self._on_progress}
        if random.random() < 0.3:
            return self.client.encode(self.image, self.segmentation, name="box", **heard)
        return self.client.segment(self.image, self.preset, **heard)

    def _on_progress(self, fraction: float, text: str) -> None:
        self.heard += 1

    def pump_until(self, done: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not done():
            if time.monotonic() > until:
                return False
            self.transport.pump(0.005)
            if self.transport.running:
                self.workers.add(self.pid)
        return True

    @property
    def pid(self) -> int:
        return self.transport._process.pid

    def check(self) -> list[str]:
        """The next click, and what is left; a list of what is wrong."""
        wrong = []
        found: list[object] = []
        job = self.client.segment(self.image, self.preset, on_done=found.append)
        if not self.pump_until(lambda: job.ended, START):
            wrong.append("the next click hung")
        elif job.state != "done":
            wrong.append(f"the next click failed: {job.error}")
        elif not np.array_equal(found[0].segmentation.layers, self.right):  # type: ignore[attr-defined]
            wrong.append("the next click gave another answer")
        if not np.array_equal(self.image.array, self.untouched):
            wrong.append("the scan was harmed")
        self.client._mover.submit(lambda: None).result(HANG)
        if left := [p.name for p in self.temporary.glob("*/*")]:
            wrong.append(f"left behind: {left}")
        alive = [p for p in self.workers if _alive(p) and p != self.pid]
        if alive and not self.pump_until(lambda: not any(map(_alive, alive)), HANG):
            wrong.append(f"{len(alive)} orphans")
        return wrong


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def at_some_moment(bench: Bench, random: random.Random, job: Job) -> None:
    """Anywhere from before the arrays are written to after the answer was given."""
    if random.random() < 0.5:
        messages = bench.heard + random.randint(1, 6)
        bench.pump_until(lambda: bench.heard >= messages or job.ended, START)
    else:
        bench.pump_until(lambda: job.ended, random.uniform(0.0, 1.0))


def kill(bench: Bench, random: random.Random, job: Job) -> None:
    at_some_moment(bench, random, job)
    if bench.transport.running:
        os.kill(bench.pid, signal.SIGKILL)


def freeze_and_cancel(bench: Bench, random: random.Random, job: Job) -> None:
    at_some_moment(bench, random, job)
    if bench.transport.running and not job.ended:
        os.kill(bench.pid, signal.SIGSTOP)
    job.cancel()


def cancel(bench: Bench, random: random.Random, job: Job) -> None:
    at_some_moment(bench, random, job)
    job.cancel()


def clean_away(bench: Bench, random: random.Random, job: Job) -> None:
    at_some_moment(bench, random, job)
    for folder in bench.temporary.iterdir():
        shutil.rmtree(folder, ignore_errors=True)


def damage(bench: Bench, random: random.Random, job: Job) -> None:
    """Cut or flip what passes between the two, as it lies in the folder."""
    at_some_moment(bench, random, job)
    for path in bench.temporary.glob("*/*"):
        try:
            size = path.stat().st_size
            with path.open("r+b") as file:
                if random.random() < 0.5:
                    file.truncate(random.randint(0, size))
                else:
                    file.seek(random.randint(0, min(size, 256)))
                    file.write(random.randbytes(8))
        except OSError:
            continue


def babble(bench: Bench, random: random.Random, job: Job) -> None:
    """Lines that are no messages, to the worker."""
    at_some_moment(bench, random, job)
    bench.transport.write(random.choice(["\n", "hello\n", "[1]\n", "{}\n", '{"job": 1}\n', '{"job":"x","verb":1}\n']))


def clock(bench: Bench, random: random.Random, job: Job) -> None:
    """Every file was written in another year, and so was the next."""
    at_some_moment(bench, random, job)
    moment = random.choice([0, 2**31, 4_000_000_000])
    for path in [*bench.temporary.glob("*"), *bench.temporary.glob("*/*")]:
        try:
            os.utime(path, (moment, moment))
        except OSError:
            continue


KINDS = {
    "worker killed": kill, "worker frozen, job cancelled": freeze_and_cancel, "job cancelled": cancel,
    "folder cleaned away": clean_away, "arrays cut or flipped": damage, "lines that are none": babble,
    "files of another year": clock,
}  # fmt: skip


def run(count: int, seed: int, show: Callable[[str], None]) -> int:
    """Make so many faults; returns how many found something wrong."""
    made: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for number in range(count):
            drawn = random.Random(f"{seed} {number}")
            kind = list(KINDS)[number % len(KINDS)]
            sentences: list[str] = []
            job = bench.ask(drawn)
            KINDS[kind](bench, drawn, job)
            wrong = [] if bench.pump_until(lambda job=job: job.ended, HANG + 20) else ["it hung"]
            if job.state == "failed" and not (job.error.endswith(".") and "\n" not in job.error):
                wrong.append(f"not a sentence: {job.error!r}")
            wrong += bench.check()
            made[kind] += 1
            sentences += [job.error] if job.error else []
            if wrong:
                bad[kind] += 1
                show(f"fault {number} of seed {seed}, {kind}: {'; '.join(wrong)} (it said: {job.state} {sentences})")
        bench.client.close()
        if left := list(bench.temporary.glob("irissegment-*")):
            bad["the end"] += 1
            show(f"left at the end: {left}")
    for kind in [*made, *(["the end"] if bad["the end"] else [])]:
        show(f"{kind:32} {made[kind]:5} made {bad[kind]:5} wrong")
    return sum(bad.values())


if __name__ == "__main__":
    wanted, drawn_by = [*map(int, sys.argv[1:]), *(1000, 0)[len(sys.argv) - 1 :]]
    sys.exit(1 if run(wanted, drawn_by, lambda line: print(line, flush=True)) else 0)
