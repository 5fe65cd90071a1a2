"""From a run's checkpoint to the bundled network: `python -m IrisSegmentLib.training.publish RUN OUTPUT`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..network import build, save_network


def publish(run: Path, output: Path, network: str = "small") -> None:
    """Write the averaged weights of a run, with its length in the header."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    averaged = build(network)
    averaged.load_state_dict(state["average"])
    save_network(averaged, output, {"steps": str(state["step"]), "hours": f"{state['seconds'] / 3600:.2f}"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a run's averaged weights as a network file.")
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--network", default="small")
    arguments = parser.parse_args()
    publish(arguments.run, arguments.output, arguments.network)
