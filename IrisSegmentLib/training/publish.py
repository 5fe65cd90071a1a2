"""From a run's checkpoint to the bundled network: `python -m IrisSegmentLib.training.publish RUN OUTPUT`.

With `--calibration REPORT`, a report of `irissegment evaluate --split val` with a file that this made without one, the
network also knows how far its confidence is to be believed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..network import build, save_network


def publish(run: Path, output: Path, network: str = "small", report: dict[str, Any] | None = None) -> None:
    """Write the averaged weights of a run, with its length in the header."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    averaged = build(network)
    averaged.load_state_dict(state["average"])
    notes = {"steps": str(state["step"]), "hours": f"{state['seconds'] / 3600:.2f}"}
    if report is not None:
        notes["trust"] = json.dumps(calibrated(report))
    save_network(averaged, output, notes)


def calibrated(report: dict[str, Any]) -> list[float]:
    """Offset and slope of the line from confidence to true Dice, by least squares over cases and classes in which
    something was found; every set counts the same."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for name, of_set in report.get("sets", {report.get("set"): report}).items():
        for case, scores in of_set["per_case"].items():
            found = [(of_set["confidence"][case][k], score) for k, score in scores.items()]
            pairs.setdefault(name, []).extend(p for p in found if p[0] > 0)
    rows = [(1.0, c, d, 1 / np.sqrt(len(of_set))) for of_set in pairs.values() for c, d in of_set]
    ones, expected, true, weight = np.array(rows).T
    line, *_ = np.linalg.lstsq(np.stack([ones, expected], 1) * weight[:, None], true * weight, rcond=None)
    return [round(float(v), 4) for v in line]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a run's averaged weights as a network file.")
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--network", default="small")
    parser.add_argument("--calibration", type=Path, metavar="REPORT")
    arguments = parser.parse_args()
    known = None if arguments.calibration is None else json.loads(arguments.calibration.read_text())
    publish(arguments.run, arguments.output, arguments.network, known)
