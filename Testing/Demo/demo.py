"""`make demo`: the main job, end to end. Mark one patient, segment the others, look at the result.

It boots Slicer's scene, loads the sample cases, encodes and segments through the module's own logic and its worker
process, and writes results that Slicer opens and a report page with pictures from Slicer's slice views.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import report  # noqa: E402  (beside this file)
import SlicerRuntime  # noqa: E402

from IrisSegmentLib.evaluation.dataset import LabelledSet  # noqa: E402
from IrisSegmentLib.evaluation.metrics import dice  # noqa: E402

COLORS = ((0.95, 0.62, 0.20), (0.25, 0.65, 0.95), (0.45, 0.80, 0.35))
TASKS = {"hippocampus": "Hippocampus", "sarcoma_pet": "Sarcoma"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Mark one patient, segment the others, write a report.")
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    say("Starting Slicer's scene")
    SlicerRuntime.start()
    module = SlicerRuntime.loadModule(ROOT / "IrisSegment" / "IrisSegment.py")
    rows, pictures = [], []
    try:
        for folder, task in TASKS.items():
            found = run_task(module.logic, LabelledSet.read(ROOT / "Resources" / "SampleCases" / folder), task, output)
            rows += found[0]
            pictures += found[1]
    finally:
        module.cleanup()
        SlicerRuntime.processEvents(0.3)  # until the worker's end is heard of
    say("Saving the scene")
    scene = save_scene(output)
    page = report.write(output, rows, pictures, seconds=time.monotonic() - started)
    print_table(rows)
    print(f"\nDone in {time.monotonic() - started:.0f} s. Open next:")
    print(f"  {page}   the report, in a browser")
    print(f"  {scene}   everything, in 3D Slicer")


def run_task(logic, labelled: LabelledSet, task: str, output: Path):
    """Encode the reference, segment the targets; table rows and pictures."""
    import slicer

    reference, *targets = labelled.cases["train"] + labelled.cases["test"]
    volumes = {case: load_volume(labelled, case) for case in (reference, *targets)}
    truths = {case: load_truth(labelled, case) for case in (reference, *targets)}
    say(f"{task}: learning from {reference}")
    outcome: dict = {}
    logic.encode(
        volumes[reference], truths[reference], list(truths[reference].GetSegmentation().GetSegmentIDs()), task,
        lambda fraction, words: None, lambda preset: outcome.update(preset=preset),
        lambda words: outcome.update(error=words),
    )  # fmt: skip
    SlicerRuntime.waitFor(lambda: outcome, 120)
    if "error" in outcome:
        sys.exit(f"demo: {outcome['error']}")
    logic.savePreset(outcome["preset"], output / f"{task}.iris")
    states: dict = {}
    began = {volumes[case].GetID(): None for case in targets}

    def on_target(volumeID, state, fraction, words):
        if state == "running" and began[volumeID] is None:
            began[volumeID] = time.monotonic()
        if state not in ("waiting", "running"):
            states[volumeID] = (state, time.monotonic() - (began[volumeID] or time.monotonic()), words)
            say(f"{task}: {slicer.mrmlScene.GetNodeByID(volumeID).GetName()} {state} {words}")

    logic.segmentAll(outcome["preset"], [volumes[case] for case in targets], on_target, lambda: None)
    SlicerRuntime.waitFor(lambda: len(states) == len(targets), 180)
    rows, pictures = [], []
    for case in targets:
        state, seconds, words = states[volumes[case].GetID()]
        if state != "done":
            sys.exit(f"demo: {case}: {words}")
        result = result_on(volumes[case])
        path = output / f"{case}_{labelled.name}.seg.nrrd"
        save_node(result, path)
        rows += table_rows(task, case, result, truths[case], volumes[case], seconds)
        say(f"{task}: pictures of {case}")
        pictures.append((f"{task}: {case}", report.pictures(volumes[case], result, truths[case])))
    first = report.pictures(volumes[reference], truths[reference], None)
    return rows, [(f"{task}: {reference} (the reference, marked by hand)", first), *pictures]


def load_volume(labelled: LabelledSet, case: str):
    import slicer

    path = labelled.folder / f"{case}_image.nii.gz"
    return slicer.util.loadVolume(str(path), {"name": f"{case} {labelled.modality}"})


def load_truth(labelled: LabelledSet, case: str):
    """The manual segmentation, with the set's names."""
    import slicer

    node = slicer.util.loadSegmentation(str(labelled.folder / f"{case}_label.nii.gz"))
    node.SetName(f"{case} manual")
    segmentation = node.GetSegmentation()
    for n, segmentID in enumerate(segmentation.GetSegmentIDs()):
        segmentation.GetSegment(segmentID).SetName(list(labelled.classes.values())[n])
        segmentation.GetSegment(segmentID).SetColor(*COLORS[n % len(COLORS)])
    return node


def result_on(volume):
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return next(n for n in nodes if n.GetNodeReference("IrisSegment.target") is volume)


def table_rows(task, case, result, truth, volume, seconds):
    import slicer

    rows = []
    ids = zip(result.GetSegmentation().GetSegmentIDs(), truth.GetSegmentation().GetSegmentIDs(), strict=True)
    voxel_ml = math.prod(volume.GetSpacing()) / 1000
    for ours, theirs in ids:
        found = slicer.util.arrayFromSegmentBinaryLabelmap(result, ours, volume) > 0
        drawn = slicer.util.arrayFromSegmentBinaryLabelmap(truth, theirs, volume) > 0
        name = result.GetSegmentation().GetSegment(ours).GetName()
        rows.append((task, case, name, dice(found, drawn), found.sum() * voxel_ml, drawn.sum() * voxel_ml, seconds))
    return rows


def save_node(node, path: Path) -> None:
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    storage.SetFileName(str(path))
    if not storage.WriteData(node):
        sys.exit(f"demo: {path} could not be written")


def save_scene(output: Path) -> Path:
    """One .mrb with everything, opened once again to see that it holds."""
    import slicer

    for kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"):
        for node in slicer.util.getNodesByClass(kind):
            if node.GetStorageNode() is None:
                node.AddDefaultStorageNode()
    names = sorted(n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
    path = output / "demo.mrb"
    if not slicer.mrmlScene.WriteToMRB(str(path), None):
        sys.exit(f"demo: {path} could not be written")
    slicer.mrmlScene.Clear(False)
    slicer.mrmlScene.ReadFromMRB(str(path.resolve()), True)
    if sorted(n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) != names:
        sys.exit(f"demo: {path} did not come back as it was saved")
    return path


def print_table(rows) -> None:
    print(f"\n{'task':<12} {'target':<17} {'segment':<22} {'Dice':>5} {'mL':>8} {'manual mL':>10} {'seconds':>8}")
    for task, case, name, score, found, drawn, seconds in rows:
        print(f"{task:<12} {case:<17} {name:<22} {score:5.2f} {found:8.1f} {drawn:10.1f} {seconds:8.2f}")


def say(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    main()
