"""Throughput of Ray with two single-thread actors against one, and of one against no Ray at all.

    python Testing/batch/bench.py --cases 300 --rounds 1      (make batch-bench N=300)

The rate is that between the first results and the last, as their records were written: starting Ray is not in it, and
is given apart. Rounds alternate, for what else the machine does to count alike.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batch.archive import make

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.evaluation.dataset import LabelledSet

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "Resources" / "SampleCases"
WAYS = {
    "without Ray": ("--threads", "1"),
    "one actor": ("--cluster", "local", "--actors", "1", "--threads", "1"),
    "two actors": ("--cluster", "local", "--actors", "2", "--threads", "1"),
}
FIRST = 4  # results that are left out: until then some actors still start


def measured(folder: Path, output: Path, options: tuple[str, ...]) -> tuple[float, float]:
    """Cases per second once it runs, and seconds in all."""
    command = [sys.executable, "-m", "IrisSegmentLib", "batch", "--data", folder / "scans", "--device", "cpu"]
    command += ["--preset", folder / "h.iris", "--output", output, *options]
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, env=environment)
    whole = time.monotonic() - started
    times = sorted(path.stat().st_mtime for path in (output / ".irissegment" / "cases").iterdir())
    shutil.rmtree(output)
    return (len(times) - FIRST) / (times[-1] - times[FIRST - 1]), whole


def bench(data: Path, count: int, rounds: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="iris-bench-") as temporary:
        folder = Path(temporary)
        make(data, folder / "scans", count)
        labelled = LabelledSet.read(SAMPLES / "hippocampus")
        case = labelled.cases["train"][0]
        Engine(None, "cpu").encode(labelled.image(case), labelled.label(case), name="h").save(folder / "h.iris")
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for n in range(rounds):
            for way, options in WAYS.items():
                found[way].append(measured(folder, folder / "out", options))
                print(f"round {n}: {way}: {found[way][-1][0]:.2f} cases/s, {found[way][-1][1]:.0f} s", flush=True)
    return {
        way: {"rate": statistics.median(r for r, _ in runs), "seconds": statistics.median(s for _, s in runs)}
        for way, runs in found.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=SAMPLES)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    result = bench(arguments.data, arguments.cases, arguments.rounds)
    rate = {way: result[way]["rate"] for way in WAYS}
    print(json.dumps(result, indent=1))
    print(f"two actors against one: {rate['two actors'] / rate['one actor']:.2f} times the throughput")
    print(f"one actor against no Ray: {100 * (rate['without Ray'] / rate['one actor'] - 1):.0f} % overhead")
