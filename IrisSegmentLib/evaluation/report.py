"""What a run over a labelled set found: means with 95 % intervals, as a report for JSON and as a table to read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from .bootstrap import Interval, interval, mean_over_classes, resampled_means
from .finished import Found
from .metrics import METRICS

Report = dict[str, Any]
LEGEND = (
    "In brackets: 95 % bootstrap interval over cases, too narrow where there are fewer than about ten. copied: Dice\n"
    "of the reference's mask copied over. missed: cases in which nothing of a structure was found; they count with\n"
    "Dice 0, surface Dice 0, and the diagonal of the scan as distance."
)
PerCase = dict[str, dict[str, float]]  # scores by case and class


def report_of(name: str, found: dict[str, Found], run: dict[str, Any]) -> Report:
    """The report of one set, ready for JSON.

    ``mean_dice``, ``per_class``, ``per_case``: Dice, the mean over classes of the mean over cases that show the class.
    ``copy_dice``, ``copy_per_class``: of the reference's mask copied over. ``metrics``: for each of `METRICS` the
    same, with 95 % bootstrap intervals over cases. ``missed``: per class, in how many cases nothing was found.
    ``confidence``: by case and class, the Dice that the program expected; ``signs``: what from, by the names
    of `Signs`.

    :param found: by case, as `evaluate` keeps it; run: what the numbers hang on.
    """
    per_case = {m: {c: {k: s[m] for k, s in f["scores"].items()} for c, f in found.items()} for m in METRICS}
    copied = {c: f["copied"] for c, f in found.items()}
    names = sorted({k for f in found.values() for k in f["scores"]})
    return {
        "set": name,
        **run,
        "mean_dice": mean_dice(per_case["dice"]),
        "copy_dice": mean_dice(copied),
        "per_class": per_class(per_case["dice"]),
        "copy_per_class": per_class(copied),
        "per_case": per_case["dice"],
        "copy_per_case": copied,
        "metrics": {m: summary(per_case[m], run["seed"]) for m in METRICS},
        "missed": {k: sum(k in f["missed"] for f in found.values()) for k in names},
        "confidence": {c: f["confidence"] for c, f in found.items()},
        "signs": {c: f["signs"] for c, f in found.items()},
        "references": {c: f["references"] for c, f in found.items()},
        "seconds_per_target": float(np.mean([f["seconds"] for f in found.values()])),
    }


def overall(reports: list[Report]) -> Report:
    """The fields of a single report over several sets: each set counts the same, however many cases it has."""
    first = reports[0]
    merged = {
        key: {f"{r['set']}/{name}": value for r in reports for name, value in r[key].items()}
        for key in ("per_class", "per_case", "missed", "references", "confidence", "signs")
    }
    metrics = {m: over_sets([r["metrics"][m] for r in reports], first["seed"]) for m in METRICS}
    hangs_on = ("split", "strategy", "seed", "references_per_target", "tolerance_mm", "network", "device")
    return {
        "mean_dice": float(np.mean([r["mean_dice"] for r in reports])),
        "seconds_per_target": float(np.mean([r["seconds_per_target"] for r in reports])),
        **merged,
        "metrics": metrics,
        **{key: first[key] for key in hangs_on},
    }


def trust(report: Report) -> dict[str, float]:
    """How the confidence agrees with the true Dice, over all cases and classes: ``spearman``, their rank correlation,
    and ``error``, the mean absolute difference."""
    pairs = [
        (report["confidence"][case][name], score) for case, scores in report["per_case"].items()
        for name, score in scores.items()
    ]  # fmt: skip
    expected, true = np.array(pairs).T
    return {"spearman": float(spearmanr(expected, true).statistic), "error": float(np.abs(expected - true).mean())}


def summary(per_case: PerCase, seed: int) -> dict[str, Any]:
    """One metric: mean, interval, and the same per class with the number of cases that show it."""
    values = _values(per_case)
    draws = resampled_means(values, seed)
    counts = (~np.isnan(values)).sum(0)
    return {
        "mean": mean_dice(per_case),
        "interval": interval(mean_over_classes(draws), len(values)),
        "per_class": {
            name: {"mean": mean, "interval": interval(draws[:, n], int(counts[n])), "cases": int(counts[n])}
            for n, (name, mean) in enumerate(per_class(per_case).items())
        },
        "per_case": per_case,
    }


def over_sets(summaries: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """One metric over several sets: the mean of their means, and its interval. Cases are drawn anew within each set,
    independently, also where sets share patients."""
    draws = [mean_over_classes(resampled_means(_values(s["per_case"]), seed + n)) for n, s in enumerate(summaries)]
    least = min(len(s["per_case"]) for s in summaries)
    return {
        "mean": float(np.mean([s["mean"] for s in summaries])),
        "interval": interval(np.mean(draws, axis=0), least),
    }


def per_class(per_case: PerCase) -> dict[str, float]:
    """Mean per class over the cases that show it."""
    names = sorted({name for scores in per_case.values() for name in scores})
    return {name: float(np.mean([s[name] for s in per_case.values() if name in s])) for name in names}


def mean_dice(per_case: PerCase) -> float:
    """Mean over classes of the mean over cases."""
    return float(np.mean(list(per_class(per_case).values())))


def table(report: Report) -> str:
    """A set's report as lines to read: a row per class and one for their mean."""
    metrics, tolerance = report["metrics"], report["tolerance_mm"]
    head = ["", "cases", "missed", "Dice", "copied", f"surface Dice at {tolerance:g} mm", "95 % Hausdorff, mm"]
    rows = [head]
    for name, row in metrics["dice"]["per_class"].items():
        cells = [with_interval(metrics[m]["per_class"][name], m) for m in METRICS]
        copied = f"{report['copy_per_class'][name]:.3f}"
        rows.append([name, str(row["cases"]), str(report["missed"][name]), cells[0], copied, *cells[1:]])
    cells = [with_interval(metrics[m], m) for m in METRICS]
    counts = [str(len(report["per_case"])), str(sum(report["missed"].values()))]
    rows.append(["mean of classes", *counts, cells[0], f"{report['copy_dice']:.3f}", *cells[1:]])
    return aligned(rows)


def with_interval(value: dict[str, Any], metric: str = "dice") -> str:
    """``0.731 [0.702, 0.758]``; the mean alone where there is no interval."""
    digits = 2 if metric == "hd95_mm" else 3
    between: Interval | None = value["interval"]
    mean = f"{value['mean']:.{digits}f}"
    return mean if between is None else f"{mean} [{between[0]:.{digits}f}, {between[1]:.{digits}f}]"


def aligned(rows: list[list[str]]) -> str:
    """Rows of cells as lines with straight columns; the first row is the head."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _values(per_case: PerCase) -> NDArray[np.float64]:
    """(cases, classes), classes by name; NaN where a case does not show a class."""
    names = sorted({name for scores in per_case.values() for name in scores})
    return np.array([[scores.get(name, np.nan) for name in names] for scores in per_case.values()])
