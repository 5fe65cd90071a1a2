"""A batch of a thousand small volumes: memory stays flat, Ctrl-C ends it within three seconds, and it goes on.

    python Testing/batch/thousand.py --cases 1000      (make batch-thousand N=1000)
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from batch.archive import make
from batch.processes import below, gone, memory

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.imaging.files import read_segmentation
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.network import build, save_network

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "Resources" / "SampleCases"
FLAT = 1.15  # memory at the end, times that after the first tenth
SOON = 3.0  # seconds from Ctrl-C to the end


def thousand(folder: Path, count: int, options: tuple[str, ...] = ()) -> dict[str, float]:
    """Run it with the small network of tests, stop it twice on its way, let it end; what was seen.

    :raises AssertionError: when it was not as it must be.
    """
    make(SAMPLES, folder / "scans", count, smallest=24)
    network = folder / "tiny.safetensors"
    save_network(build("tiny"), network)
    values = np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32)
    mask = np.zeros(values.shape, np.uint8)
    mask[10:20, 8:20, 6:20] = 1
    image = Volume(values + 3 * mask, np.eye(4), "scan")
    drawn = Segmentation(mask[None], image.affine, (Segment("box", (1.0, 0.0, 0.0)),), "drawn")
    Engine(network, "cpu").encode(image, drawn, name="box").save(folder / "box.iris")
    command = [sys.executable, "-m", "IrisSegmentLib", "batch", "--data", folder / "scans", "--device", "cpu"]
    command += ["--network", network, "--preset", folder / "box.iris", "--output", folder / "out", *options]
    output, peaks, stops = folder / "out", {}, [count // 3, 2 * count // 3]
    slowest = 0.0
    while True:
        process = subprocess.Popen(
            list(map(str, command)), env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        seen: set[int] = set()
        while process.poll() is None:
            time.sleep(0.25)
            done = len(list(output.glob("*.seg.nrrd")))
            family = {process.pid, *below(process.pid)}
            seen |= family
            for pid in family:
                try:
                    peaks.setdefault(pid, []).append((done, memory(pid)))
                except OSError:  # it has just ended
                    continue
            if stops and done >= stops[0]:
                stops.pop(0)
                started = time.monotonic()
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=60)
                slowest = max(slowest, time.monotonic() - started)
                assert process.returncode == 130 and "Traceback" not in errors, errors
                assert gone(seen, 5.0), "processes were left"
                for path in output.glob("*.seg.nrrd"):
                    read_segmentation(path)
        if process.returncode != 130:
            break
    assert process.returncode == 0, process.communicate()
    assert len(list(output.glob("*.seg.nrrd"))) == count
    # Of each process that did a good part of the work: at its end against when its first tenth was done.
    growth = 1.0
    for line in peaks.values():
        done = [n for n, _ in line]
        if done[-1] - done[0] >= count / 6:
            early = max(size for n, size in line if n <= done[0] + (done[-1] - done[0]) / 3)
            growth = max(growth, line[-1][1] / early)
    assert slowest < SOON, f"Ctrl-C took {slowest:.1f} s"
    assert growth < FLAT, f"memory grew {growth:.2f} times"
    return {"cases": count, "stopped_within_s": slowest, "memory_grew_times": growth}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--cluster", action="store_true")
    arguments = parser.parse_args()
    more = ("--cluster", "local", "--actors", "2") if arguments.cluster else ()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background of a shell would ignore it
    with tempfile.TemporaryDirectory(prefix="iris-thousand-") as temporary:
        print(thousand(Path(temporary), arguments.cases, more))
