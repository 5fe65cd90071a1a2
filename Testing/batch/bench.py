"""Throughput of Ray with two single-thread actors against one, and of one against no Ray at all.

    python Testing/batch/bench.py --cases 300      (make batch-bench N=300)

All three ways are open at once and take turns at blocks of alike scans, so that what else the machine does counts for
each alike. Starting is not in the rates: it is paid once, whatever the archive. Two cores must be to spare.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from batch.archive import make

from IrisSegmentLib.batch.cases import Case
from IrisSegmentLib.batch.cluster import Cluster
from IrisSegmentLib.batch.here import Here
from IrisSegmentLib.batch.identity import task_hash
from IrisSegmentLib.batch.outcome import DONE
from IrisSegmentLib.batch.records import Records
from IrisSegmentLib.batch.segmenting import Segmenting
from IrisSegmentLib.batch.work import Place
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.evaluation.dataset import LabelledSet

SAMPLES = Path(__file__).resolve().parents[2] / "Resources" / "SampleCases"


def seconds(place: Place, cases: list[Case], at_once: bool) -> float:
    """That a place takes for cases, given together or one after the other."""
    started = time.perf_counter()
    for part in [cases] if at_once else [[case] for case in cases]:
        for case, answer in place.run(part):
            assert answer.state == DONE, (case, answer)
    return time.perf_counter() - started


def bench(data: Path, count: int, block: int) -> dict[str, float]:
    """Cases per second, by way."""
    with tempfile.TemporaryDirectory(prefix="iris-bench-") as temporary:
        folder = Path(temporary)
        paths = make(data, folder / "scans", count)
        labelled = LabelledSet.read(SAMPLES / "hippocampus")
        case = labelled.cases["train"][0]
        preset = Engine(None, "cpu").encode(labelled.image(case), labelled.label(case), name="h")
        records = Records(folder / "out")
        records.output.mkdir()
        work = Segmenting(preset.to_bytes(), task_hash(preset), None, "cpu", records.output)
        taken: dict[str, float] = defaultdict(float)
        done: dict[str, int] = defaultdict(int)
        cases = iter([Case(path.name.removesuffix(".nii.gz"), path) for path in paths])

        def turn(way: str, place: Place, at_once: bool) -> Iterator[str]:
            these = [case for _, case in zip(range(block), cases, strict=False)]
            if len(these) == block:
                taken[way] += seconds(place, these, at_once)
                done[way] += block
                yield f"{way} {done[way] / taken[way]:.2f} cases/s"

        with records.held(), Here(work, 1) as here, Cluster(work, "local", 2, 1, gpus=False) as two:
            warm = [Case(f"warm{n}", path) for n, path in enumerate(paths[:4])]
            seconds(here, warm[:2], False)
            seconds(two, warm[2:], True)
            while words := [
                *turn("no Ray", here, False), *turn("one actor", two, False), *turn("two actors", two, True)
            ]:  # fmt: skip
                print(f"{sum(done.values())} cases: {', '.join(words)}", flush=True)
    return {way: done[way] / taken[way] for way in taken}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=SAMPLES)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--block", type=int, default=10)
    arguments = parser.parse_args()
    rate = bench(arguments.data, arguments.cases, arguments.block)
    print(f"two actors against one: {rate['two actors'] / rate['one actor']:.2f} times the throughput")
    print(f"one actor against no Ray: {100 * (rate['no Ray'] / rate['one actor'] - 1):.0f} % overhead")
