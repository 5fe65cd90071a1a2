"""`kill -9` at random moments of batches on Ray: an actor, the command itself, or the head. After a rerun every case
must have exactly one whole result, equal voxel by voxel to that of an undisturbed run, and no process may be left.

    python Testing/batch/attack.py --moments 20 --seed 0      (make batch-attack)
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from batch.archive import make
from batch.processes import below, gone

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.evaluation.dataset import LabelledSet
from IrisSegmentLib.imaging.files import read_segmentation

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "Resources" / "SampleCases"
VICTIMS = {"actor": ("ray::Actor", "ray::IDLE"), "head": ("gcs_server", "raylet"), "driver": ()}
LEAVE = 75.0  # seconds in which all processes must have ended after the command: two agents of Ray wait a minute


class Attack:
    """
    :param folder: for everything; :param count: cases.
    """

    def __init__(self, folder: Path, count: int, network: Path | None) -> None:
        self.folder, self.network = folder, network
        self.cases = [path.name.removesuffix(".nii.gz") for path in make(SAMPLES, folder / "scans", count)]
        labelled = LabelledSet.read(SAMPLES / "hippocampus")
        case = labelled.cases["train"][0]
        self.preset = folder / "hippocampus.iris"
        Engine(network, "cpu").encode(labelled.image(case), labelled.label(case), name="h").save(self.preset)
        undisturbed = folder / "undisturbed"
        started = time.monotonic()
        process = self.start(undisturbed, "--threads", "1")
        assert process.wait(600) == 0, "an undisturbed run"
        self.seconds = time.monotonic() - started
        self.right = {case: self.layers(undisturbed, case) for case in self.cases}

    def layers(self, output: Path, case: str) -> np.ndarray:
        return read_segmentation(output / f"{case}.seg.nrrd").layers

    def start(self, output: Path, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "IrisSegmentLib", "batch", "--data", self.folder / "scans", "--device", "cpu"]
        command += ["--preset", self.preset, "--output", output, *options]
        command += ["--network", self.network] if self.network else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment)

    def disturb(self, output: Path, victim: str, draw: random.Random) -> str:
        """A run on Ray with one kill in it; what was killed, or how it ended before."""
        process = self.start(output, "--cluster", "local", "--actors", "2")
        seen: dict[int, str] = {}
        until = time.monotonic() + draw.uniform(0.5, 1.0) * (10 + 0.7 * self.seconds)
        names, target = VICTIMS[victim], None
        while process.poll() is None:
            seen |= below(process.pid)
            if time.monotonic() > until:
                matching = [pid for pid, line in below(process.pid).items() if any(n in line for n in names)]
                target = process.pid if victim == "driver" else draw.choice(matching) if matching else None
                if target:
                    break
            time.sleep(0.05)
        if target is None:
            return f"{victim}: it had ended"
        line = seen.get(target, victim).split("/")[-1][:20].split(" ")[0]
        os.kill(target, signal.SIGKILL)
        process.wait(120)
        if not gone(set(seen), LEAVE):
            return f"{victim}: WRONG: processes were left"
        starting = victim == "head" and not any("ray::Actor" in line for line in seen.values())
        expected = (0, 2, -signal.SIGKILL, 1) if starting else (0, 2, -signal.SIGKILL)  # 1: Ray ends us by itself
        if process.returncode not in expected:
            return f"{victim}: WRONG: the command ended with {process.returncode}"
        return f"{victim} {line}: ended with {process.returncode}"

    def faults(self, output: Path) -> list[str]:
        """What is wrong after a rerun."""
        process = self.start(output, "--threads", "1")
        wrong = [] if process.wait(600) == 0 else [f"the rerun ended with {process.returncode}"]
        found = sorted(p.name for p in output.iterdir())
        expected = sorted([".irissegment", "report.html", "results.parquet", *(f"{c}.seg.nrrd" for c in self.cases)])
        if found != expected:
            wrong.append(f"files {set(found) ^ set(expected)}")
        if any((output / ".irissegment").rglob("*.part")) or (output / ".irissegment" / "parts").exists():
            wrong.append("half-written files were left")
        for case in self.cases:
            if not np.array_equal(self.layers(output, case), self.right[case]):
                wrong.append(f"{case} differs")
        return wrong


def attack(folder: Path, moments: int, seed: int, count: int, network: Path | None = None) -> int:
    """How much was found wrong."""
    draw, bench, wrong = random.Random(seed), Attack(folder, count, network), 0
    tally: Counter[str] = Counter()
    for n in range(moments):
        output = folder / f"disturbed-{n}"
        victim = list(VICTIMS)[n % len(VICTIMS)]
        how = bench.disturb(output, victim, draw)
        done = len(list(output.glob("*.seg.nrrd")))
        faults = bench.faults(output)
        wrong += len(faults) + ("WRONG" in how)
        tally[victim] += 1
        print(f"{n}: {how}; {done} of {count} done; after a rerun: {'; '.join(faults) or 'all is right'}", flush=True)
        shutil.rmtree(output)
    print(f"{sum(tally.values())} kills ({dict(tally)}), {wrong} things wrong")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iris-attack-") as temporary:
        sys.exit(attack(Path(temporary), arguments.moments, arguments.seed, arguments.cases) > 0)
