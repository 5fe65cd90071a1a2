"""A CT of 512 x 512 x 600 voxels and 40 classes with the bundled network, in 8 GB in all.

    python Testing/large/large.py [SIZE] [CLASSES]      (make large)

The limit is enforced as address space (RLIMIT_AS), which is stricter than memory in use: whatever a process maps
counts, libraries, stacks and files alike. It is shared out as in Slicer: the process that asks and holds the scan may
have 3 GB, the worker that computes 5 GB. Prints one line of JSON; ends with 1 when the work failed.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from IrisSegmentLib.engine.client import EngineClient
from IrisSegmentLib.engine.transport import ProcessTransport
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume

ASKS, COMPUTES = 3 * 10**9, 5 * 10**9  # bytes
SIZE = (512, 512, 600)
SMALLER = 4  # the reference has so many times fewer voxels along each axis
CLASSES = 40


def blocks(size: tuple[int, int, int], classes: int) -> np.ndarray:
    """Labels 1 to ``classes``, blocks in rows of a body; (I, J, K) uint8."""
    labels = np.zeros(size, np.uint8)
    rows = int(np.ceil(classes ** (1 / 3)))
    step = [n // (rows + 1) for n in size]
    for number in range(classes):
        place = np.unravel_index(number, (rows,) * 3)
        start = [(p + 1) * s - s // 4 for p, s in zip(place, step, strict=True)]
        labels[tuple(slice(n, n + s // 2) for n, s in zip(start, step, strict=True))] = number + 1
    return labels


def scan(labels: np.ndarray, spacing: float, name: str) -> Volume:
    """Intensities of a CT, each class its own, with noise; int16, one plane after the other so that none is double."""
    random = np.random.default_rng(0)
    array = np.empty(labels.shape, np.int16)
    for plane, shown in zip(array, labels, strict=True):
        plane[:] = random.normal(0, 15, shown.shape) + np.where(shown > 0, 40 + 12.0 * shown, -100)
    return Volume(array, np.diag([spacing, spacing, spacing, 1.0]), name)


def peak_mb(process: str) -> dict[str, float]:
    """The most that a process has held and mapped so far."""
    words = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return {name: round(int(words[key].split()[0]) / 1024) for name, key in (("held", "VmHWM"), ("mapped", "VmPeak"))}


def main(size: tuple[int, int, int] = SIZE, classes: int = CLASSES) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (ASKS, resource.getrlimit(resource.RLIMIT_AS)[1]))
    small = blocks(tuple(n // SMALLER for n in size), classes)
    segments = tuple(Segment(f"class {n + 1}", (1.0, 0.0, 0.0), label=n + 1) for n in range(classes))
    reference = scan(small, SMALLER * 0.8, "reference")
    marked = Segmentation(small[None], reference.affine, segments, "marked")
    target = scan(blocks(size, classes), 0.8, "large")
    transport = ProcessTransport()
    client = EngineClient(transport, device="cpu")
    found: list = []
    words: dict[str, object] = {"size": size, "classes": classes}

    def wait(job) -> float:
        started = time.perf_counter()
        limited = False
        while not job.ended:
            transport.pump(0.1)
            if not limited and transport.running:
                hard = resource.prlimit(transport._process.pid, resource.RLIMIT_AS)[1]
                resource.prlimit(transport._process.pid, resource.RLIMIT_AS, (COMPUTES, hard))
                limited = True
        assert job.state == "done", job.error
        return round(time.perf_counter() - started, 1)

    try:
        tell = {"on_progress": lambda fraction, text: print(f"{fraction:4.0%} {text}", file=sys.stderr, flush=True)}
        job = client.encode(reference, marked, name="forty", on_done=found.append, **tell)
        words["encode_s"] = wait(job)
        job = client.segment(target, found[0], on_done=found.append, **tell)
        words["large_s"] = wait(job)
        result = found[1]
        words["large_cpu_s"] = _cpu_seconds(transport._process.pid)
        worker, own = peak_mb(str(transport._process.pid)), peak_mb("self")
        words["worker_mb"], words["asking_mb"] = worker, own
        words["large_peak_mb"] = worker["held"] + own["held"]
        words["classes_found"] = sum(volume > 0 for volume in result.volumes_ml)
    except AssertionError as error:
        words["failed"] = str(error)
    finally:
        client.close()
    print(json.dumps(words))
    return 1 if "failed" in words else 0


def _cpu_seconds(pid: int) -> float:
    """Of a living process: what it would have taken alone on this many threads, at most."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / 100


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    side = given[0] if given else 0
    sys.exit(main((side, side, side) if side else SIZE, given[1] if len(given) > 1 else CLASSES))
