"""Five hundred targets through one worker in one scene: memory flat, nothing left behind, every answer the right one.

    python Testing/soak/soak.py 500      (make soak N=500)

Volumes come and go in tens, as when one study is read after the other: loaded, segmented by the panel's button, looked
at, removed. Prints what both processes held after each ten; ends with 1 when anything is wrong.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SETS = ROOT / "Resources" / "SampleCases"
REFERENCE = "023"
TARGETS = tuple(p for p in sorted(SETS.glob("*/*_image.nii.gz")) if REFERENCE not in p.name)
ROUND = 10  # targets that are in the scene together
WARM = 50  # targets after which nothing may grow any more
PREFIX = "irissegment-"  # of the folder that scans pass through
DATA = "vtkMRMLDisplayableNode"  # what nodes that hold data are
GROWTH = 0.05  # of memory, at most
PATIENCE = 600.0  # seconds for one round

# What a run with nothing before it answers: in a process of its own, of which only one answer is asked.
FRESH = """
import hashlib, sys
import numpy as np
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.imaging.files import read_volume
layers = Engine(device="cpu").segment(read_volume(sys.argv[2]), Preset.load(sys.argv[1])).segmentation.layers
print(hashlib.sha256(np.ascontiguousarray(layers[0])).hexdigest())
"""


@dataclass(frozen=True)
class Held:
    """What the two processes hold after some targets.

    :param scene_mb, worker_mb: anonymous memory, which nothing but its process can give back; the scene's after it gave
        back what lay free between pieces in use.
    :param scene_files, worker_files: open ones; nodes: of the scene, those that hold data.
    """

    targets: int
    scene_mb: float
    worker_mb: float
    scene_files: int
    worker_files: int
    nodes: int


class Soak:
    """
    :param folder: for the preset and for everything temporary.
    """

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        os.environ["TMPDIR"], tempfile.tempdir = str(self.temporary), None
        import SlicerRuntime

        SlicerRuntime.start()
        self.panel = SlicerRuntime.loadModule(ROOT / "IrisSegment" / "IrisSegment.py")
        self.preset = folder / "hippocampus.iris"
        self.found: dict[str, set[str]] = {}  # hashes of the answers, by target
        self.held: list[Held] = []
        self.workers: set[int] = set()
        self.wrong: list[str] = []
        self._done = 0

    def mark(self) -> None:
        """Encode the reference; it stays in the scene."""
        from radiologist import choose, encode, load, mark

        choose(self.panel, load(REFERENCE, "Reference"), mark(REFERENCE))
        encode(self.panel)
        self.panel.presets.save(self.preset)

    def round(self, count: int) -> None:
        """Load so many targets, segment them, look at the results and remove all."""
        import SlicerRuntime
        from radiologist import results

        names = [f"{self._done + n} of many" for n in range(count)]
        paths = [TARGETS[(self._done + n) % len(TARGETS)] for n in range(count)]
        volumes = [load(path, name) for path, name in zip(paths, names, strict=True)]
        SlicerRuntime.processEvents(0.05)
        self.panel.ui.segmentButton.click()
        SlicerRuntime.waitFor(lambda: not self.panel.logic.busy, PATIENCE)
        SlicerRuntime.processEvents(0.1)
        if f"{count} of {count}" not in self.panel.ui.statusLabel.text:
            self.wrong.append(f"after {self._done} targets the panel said: {self.panel.ui.statusLabel.text}")
        made = results()
        for path, volume in zip(paths, volumes, strict=True):
            node = made.get(volume.GetName())
            if node is not None:
                self.found.setdefault(str(path), set()).add(hash_of(node, volume))
                remove(node)
            remove(volume)
        SlicerRuntime.processEvents(0.1)
        self._done += count
        self._look()

    def _look(self) -> None:
        import slicer

        workers = children()
        self.workers.update(workers)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        own, worker = os.getpid(), workers[0] if workers else 0
        files, nodes = (open_files(own), open_files(worker)), slicer.mrmlScene.GetNumberOfNodesByClass(DATA)
        self.held.append(Held(self._done, anonymous_mb(own), anonymous_mb(worker), *files, nodes))
        if left := [p.name for p in self.temporary.glob(f"{PREFIX}*/*")]:
            self.wrong.append(f"after {self._done} targets the exchange folder holds {left}")

    def end(self) -> None:
        """Close the panel, and see what is left of it."""
        import SlicerRuntime

        self.panel.cleanup()
        until = time.monotonic() + 10
        while children() and time.monotonic() < until:
            SlicerRuntime.processEvents(0.1)
        SlicerRuntime.processEvents(0.3)  # until the worker's end is heard of
        if children():
            self.wrong.append(f"{len(children())} processes are left")
        ours = [p for p in self.temporary.glob("*") if not p.name.startswith("iris-runtime")]
        if left := [p.name for p in ours if any(p.iterdir() if p.is_dir() else [p]) or p.name.startswith(PREFIX)]:
            self.wrong.append(f"left in the temporary folder: {left}")
        if len(self.workers) != 1:
            self.wrong.append(f"{len(self.workers)} workers served instead of one")

    def check(self) -> None:
        """Memory, and the answers against runs of their own."""
        warm = next((h for h in self.held if h.targets >= WARM), self.held[-1])
        later = [h for h in self.held if h.targets > warm.targets]
        for what in ("scene_mb", "worker_mb"):
            before, most = getattr(warm, what), max((getattr(h, what) for h in later), default=0.0)
            if most > (1 + GROWTH) * before:
                self.wrong.append(f"{what} grew from {before:.0f} to {most:.0f}")
        for what in ("scene_files", "worker_files", "nodes"):
            if len(counts := {getattr(h, what) for h in [warm, *later]}) > 1:
                self.wrong.append(f"{what} did not stay the same: {sorted(counts)}")
        for path, hashes in self.found.items():
            if hashes != {fresh(self.preset, path)}:
                self.wrong.append(f"{Path(path).name} had {len(hashes)} answers, not that of a fresh run alone")


def load(path: Path, name: str):  # type: ignore[no-untyped-def]
    """A volume of the scene. Slicer's reader tries its kinds one after the other, and leaves display nodes of those
    that did not fit, each with the whole image: they would be all of the growth that is seen."""
    import slicer

    volume = slicer.modules.volumes.logic().AddArchetypeVolume(str(path), name, 0)
    for node in slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeDisplayNode"):
        slicer.mrmlScene.RemoveNode(node)
    return volume


def remove(node) -> None:  # type: ignore[no-untyped-def]
    """As the Data module's Delete does, with what belongs to the node."""
    import slicer

    parts = [node.GetStorageNode(), *(node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes()))]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.RemoveItem(hierarchy.GetItemByDataNode(node), True, True)
    for part in parts:
        if part is not None:
            slicer.mrmlScene.RemoveNode(part)


def hash_of(node, volume) -> str:  # type: ignore[no-untyped-def]
    """sha256 of a result's labels (I, J, K) on its volume's voxels."""
    import slicer

    labels = np.zeros(volume.GetImageData().GetDimensions(), np.uint8)
    for n, segment in enumerate(node.GetSegmentation().GetSegmentIDs()):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume)
        if mask is not None:
            labels[mask.transpose(2, 1, 0) > 0] = n + 1
    return hashlib.sha256(np.ascontiguousarray(labels)).hexdigest()


def fresh(preset: Path, path: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FRESH, str(preset), path]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def children() -> list[int]:
    """Processes that this one has started and that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.append(int(stat.parent.name))
    return found


def anonymous_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def run(count: int, folder: Path, show: Callable[[str], None]) -> list[str]:
    """So many targets; returns what is wrong, a sentence each."""
    started = time.monotonic()
    soak = Soak(folder)
    soak.mark()
    show("targets   scene MB   worker MB   files   nodes")
    for start in range(0, count, ROUND):
        soak.round(min(ROUND, count - start))
        h = soak.held[-1]
        show(f"{h.targets:7} {h.scene_mb:10.1f} {h.worker_mb:11.1f}   {h.scene_files}+{h.worker_files}   {h.nodes}")
    soak.end()
    soak.check()
    show(f"{count} targets in {time.monotonic() - started:.0f} s; {len(soak.wrong)} wrong")
    for sentence in soak.wrong:
        show(sentence)
    return soak.wrong


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]
    with tempfile.TemporaryDirectory() as scratch:
        wrong = run(int(sys.argv[1]) if sys.argv[1:] else 500, Path(scratch), lambda line: print(line, flush=True))
    sys.exit(1 if wrong else 0)
