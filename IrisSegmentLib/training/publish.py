"""From a run's checkpoint to the bundled network: `python -m IrisSegmentLib.training.publish RUN OUTPUT`.

With `--calibration REPORT PROBES`, reports of `irissegment evaluate --split val` and `irissegment probe --split val` on
a file that this made without them, the network also knows how far it is to be believed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..network import build, save_network
from ..network.trust import ALIKE, Trust

ABSENT = 0.1  # what scans without the object count beside those with it: more, and the expected Dice is too low


def publish(run: Path, output: Path, network: str = "small", trust: Trust | None = None) -> None:
    """Write the averaged weights of a run, with its length in the header."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    averaged = build(network)
    averaged.load_state_dict(state["average"])
    notes = {"steps": str(state["step"]), "hours": f"{state['seconds'] / 3600:.2f}"}
    if trust is not None:
        notes["trust"] = trust.to_json()
    save_network(averaged, output, notes)


def calibrated(report: dict[str, Any], probes: dict[str, Any]) -> Trust:
    """What the cases of a report and the scans without the object of probes show, both of a network that nothing was
    known of: least squares, with a Dice of 0 where there is no object. Every set counts the same. Classes of which
    nothing was found tell nothing."""
    there = np.array([
        (1.0, confidence[name], min(of_set["likeness"][case], ALIKE), score, 1 / len(of_set["per_case"]))
        for of_set in report["sets"].values()
        for case, confidence in of_set["confidence"].items()
        for name, score in of_set["per_case"][case].items()
        if confidence[name] > 0 and of_set["likeness"][case] is not None
    ])  # fmt: skip
    absent = np.array([
        (1.0, confidence, min(target["likeness"], ALIKE), 0.0, 1 / len(of_set["absent"]["per_target"]))
        for of_set in probes.values()
        for target in of_set["absent"]["per_target"]
        for confidence in target["confidence"]
        if confidence > 0 and target["likeness"] is not None
    ])  # fmt: skip
    there[:, 4] /= there[:, 4].sum()
    absent[:, 4] *= ABSENT / absent[:, 4].sum()
    rows = np.concatenate([there, absent])
    root = np.sqrt(rows[:, 4])
    line, *_ = np.linalg.lstsq(root[:, None] * rows[:, :3], root * rows[:, 3], rcond=None)
    return Trust(*(round(float(v), 4) for v in line))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a run's averaged weights as a network file.")
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--network", default="small")
    parser.add_argument("--calibration", type=Path, nargs=2, metavar=("REPORT", "PROBES"))
    arguments = parser.parse_args()
    known = None
    if arguments.calibration is not None:
        known = calibrated(*(json.loads(path.read_text()) for path in arguments.calibration))
        print(known)
    publish(arguments.run, arguments.output, arguments.network, known)
