"""A picture of how far the expected Dice is to be believed: expected against true, in bins, with the diagonal."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..context.preset import write_whole
from ..errors import IrisError
from .report import trust

BINS = 8


def draw(report: Path, output: Path) -> None:
    """Draw a report of `irissegment evaluate` as PNG.

    :raises IrisError: when the file is no such report, or matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise IrisError("Pictures need matplotlib, which is missing; get it with: pip install matplotlib.")
    from matplotlib.figure import Figure

    try:
        words = json.loads(report.read_text())
        pairs, agreement = pairs_of(words), trust(words)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IrisError(f"'{report}' is no report of `irissegment evaluate`; give what its --json wrote.") from error
    expected, true = 100 * pairs.T
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=1, linestyle="--", label="as expected")
    axes.plot(expected, true, ".", color="#56b4e9", markersize=4, alpha=0.6, label="one structure of one target")
    x, y, spread = 100 * binned(pairs).T
    axes.errorbar(x, y, spread, fmt="o-", color="#0072b2", markersize=5, capsize=2, label="mean of a bin, ± s.e.")
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="expected Dice, %", ylabel="true Dice, %", aspect="equal")
    axes.set_title(
        f"{words['split']} split, {len(pairs)} structures: rank correlation {agreement['spearman']:.2f}, "
        f"off by {100 * agreement['error']:.0f} points", fontsize=8,
    )  # fmt: skip
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    write_whole(output, data.getvalue())


def pairs_of(report: dict[str, Any]) -> NDArray[np.float64]:
    """(structures, 2): expected and true Dice, 0..1, of every class of every case."""
    return np.array([
        (report["confidence"][case][name], score)
        for case, scores in report["per_case"].items() for name, score in scores.items()
    ])  # fmt: skip


def binned(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bins of equally many structures by what was expected: (bins, 3) of the mean expected and mean true Dice, and the
    latter's standard error."""
    parts = np.array_split(pairs[np.argsort(pairs[:, 0], kind="stable")], min(BINS, len(pairs)))
    return np.array([(*part.mean(0), part[:, 1].std() / np.sqrt(len(part))) for part in parts])
