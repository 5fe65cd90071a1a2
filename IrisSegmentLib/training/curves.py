"""A picture of a run while it goes on: loss and validation Dice over the hours, from its log.

``python -m IrisSegmentLib.training.curves LOG... --output PICTURE`` draws several runs, one after the other.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..context.preset import write_whole


def draw(logs: Sequence[Path], output: Path) -> None:
    """Logs (``log.jsonl``) as one PNG; runs follow each other in time. Nothing is drawn where matplotlib is missing,
    for a run must not end for want of a picture."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
    start, colors = 0.0, {"coarse": "#56b4e9", "fine": "#0072b2"}
    for log in logs:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        lines = [line for line in lines if np.isfinite(line["loss"])]
        if not lines:
            continue
        hours = [start + line["hours"] for line in lines]
        above.plot(hours, [line["loss"] for line in lines], color="#444444", linewidth=1.2)
        for look, color in colors.items():
            shown = [(h, line["validation"]) for h, line in zip(hours, lines, strict=True) if line["validation"]]
            for name in sorted({name for _, scores in shown for name in scores}):
                own = [(h, 100 * scores[name][look]) for h, scores in shown if name in scores]
                below.plot(*zip(*own, strict=True), color=color, linewidth=0.5, alpha=0.45)
            means = [100 * float(np.mean([s[look] for s in scores.values()])) for _, scores in shown]
            label = f"{look}, mean of sets" if start == 0 else None
            below.plot([h for h, _ in shown], means, color=color, linewidth=2, label=label)
        if start > 0:
            for axes in (above, below):
                axes.axvline(start, color="#dddddd", linewidth=1)
        start = hours[-1]
    above.set_ylabel("loss")
    below.set(ylabel="validation Dice, %", xlabel="hours of training", ylim=(0, 100))
    below.legend(fontsize=8, frameon=False, loc="lower right")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    write_whole(output, data.getvalue())


def record(folder: Path, line: dict) -> None:
    """Add a line of the log to the run's TensorBoard files, where TensorBoard is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer.add_scalar("loss", line["loss"], line["step"])
        for name, scores in line["validation"].items():
            for look, score in scores.items():
                writer.add_scalar(f"validation {look}/{name}", score, line["step"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw loss and validation of runs, one after the other.")
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    draw(arguments.logs, arguments.output)
