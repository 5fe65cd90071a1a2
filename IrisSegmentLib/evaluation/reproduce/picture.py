"""How pictures look: one plain style, error bars that say what they are, and below what the numbers hang on."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...context.preset import write_whole
from ..report import aligned
from .request import Facts

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#444444")  # told apart by all
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
INCH = 0.17  # of a line of the footnote


def new_figure(width: float, height: float, title: str, facts: Facts) -> Figure:
    """An empty figure (inches) with its title, and room for the facts at its foot."""
    lines = [part for line in facts.lines() for part in textwrap.wrap(line, int(width * 16))]
    foot = INCH * len(lines) + 0.1
    figure = Figure(figsize=(width, height + foot), layout="constrained")
    figure.get_layout_engine().set(rect=(0, foot / (height + foot), 1, 1 - foot / (height + foot)))  # type: ignore
    figure.suptitle(title, fontsize=11, fontweight="bold")
    figure.text(0.012, 0.05 / (height + foot), "\n".join(lines), fontsize=7.5, color="#333333", va="bottom")
    return figure


def write(figure: Figure, path: Path) -> None:
    """As PNG, whole or not at all."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=160)
    write_whole(path, data.getvalue())


def plain(axes: Axes, grid: str = "x") -> None:
    """A light grid along one axis, no box."""
    axes.grid(axis=grid, color="#dddddd", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def dots(axes: Axes, rows: list[str], series: dict[str, list[dict[str, Any] | None]]) -> None:
    """A row per name, a dot with its 95 % interval per series: values as `report.summary` gives them, drawn in %.

    :param series: by name, one value (``mean``, ``interval``) or None per row.
    """
    step = 0.7 / max(1, len(series))
    for n, (name, values) in enumerate(series.items()):
        shift = (n - (len(series) - 1) / 2) * step
        for row, value in enumerate(values):
            if value is None:
                continue
            low, high = value["interval"] or (value["mean"], value["mean"])
            at, label = row + shift, name if row == next(i for i, v in enumerate(values) if v is not None) else None
            axes.plot([100 * low, 100 * high], [at, at], color=COLORS[n], linewidth=1.6, solid_capstyle="butt")
            axes.plot(
                100 * value["mean"], at, MARKERS[n], color=COLORS[n], markersize=5.5, label=label,
                markeredgecolor="white", markeredgewidth=0.6,
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color="#eeeeee", linewidth=0.8)
    plain(axes)
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)


def dice_table(rows: list[str], series: dict[str, list[dict[str, Any] | None]]) -> str:
    """What `dots` draws, as lines to read."""
    cells = [[name, *(percent(values[n]) for values in series.values())] for n, name in enumerate(rows)]
    return aligned([["Dice, %", *series], *cells])


def dice_picture(
    path: Path, title: str, facts: Facts, rows: list[str], series: dict[str, list[dict[str, Any] | None]]
) -> None:
    """A picture of `dots` alone."""
    figure = new_figure(7.5, 1.2 + 0.55 * len(rows), title, facts)
    axes = figure.add_subplot()
    dots(axes, rows, series)
    axes.set_xlabel("Dice, %", fontsize=9)
    write(figure, path)


def percent(value: dict[str, Any] | None) -> str:
    """``73.1 [70.2, 75.8]``, of shares; empty for None."""
    if value is None:
        return ""
    between = value["interval"]
    mean = f"{100 * value['mean']:.1f}"
    return mean if between is None else f"{mean} [{100 * between[0]:.1f}, {100 * between[1]:.1f}]"
