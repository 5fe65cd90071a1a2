"""Figure 6: Dice on unseen anatomy by the number of sets trained on, and Dice by the number of query tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from ..report import aligned, over_sets
from .measure import measured
from .picture import COLORS, MARKERS, new_figure, percent, plain, write
from .request import Facts, Request, keep
from .table4 import SEEN, UNSEEN, by_column, held_out
from .variants import budget_of, hashes_of, trained, training_sets, varied

TOKENS = (1, 5, 10, 20)

Line = list[tuple[int, dict[str, Any] | None]]  # number, and the mean with its interval


def make(request: Request) -> None:
    held = held_out(request)
    sets = training_sets(request, held.left_out)
    nested = growing(sets, [s.folder.name for s in request.sets], request.seed)
    by_sets = [trained(request, varied(request, f"{len(n)} sets", n)) for n in nested]
    by_tokens = [trained(request, varied(request, f"{n} query tokens", sets, tokens=n)) for n in TOKENS]
    unseen: Line = []
    for network in by_sets:
        found = [measured(request, network.engine, s)["metrics"]["dice"] for s in held.tested]
        unseen.append((len(network.variant.sets), over_sets(found, request.seed)))
    scores = [by_column(request, t, held) for t in by_tokens]
    lines = {c: [(n, s["dice"].get(c)) for n, s in zip(TOKENS, scores, strict=True)] for c in (SEEN, UNSEEN)}
    rows = [[f"sets trained on: {n}", "", percent(value)] for n, value in unseen]
    rows += [[f"query tokens: {n}", *(percent(lines[c][i][1]) for c in lines)] for i, n in enumerate(TOKENS)]
    print(aligned([["Dice, %", SEEN, UNSEEN], *rows]))
    networks = [*by_sets, *by_tokens]
    added = [n[len(before) :] for before, n in zip([[], *nested[:-1]], nested, strict=True)]
    facts = Facts(
        hashes_of(networks), request.split, scores[0]["cases"], request.seed, budget=budget_of(request, networks),
        short=f"Unseen: {held.name}. Sets, joined one after the other: {' | '.join(', '.join(a) for a in added)}. "
        f"One reference. Bars: 95 % bootstrap interval over cases{request.limited}.",
    )  # fmt: skip
    figure = new_figure(9, 3.6, "Training sets and query tokens", facts)
    left, right = figure.subplots(1, 2, sharey=True)
    _line(left, unseen, UNSEEN, 1)
    for n, (name, line) in enumerate(lines.items()):
        _line(right, line, name, n)
    left.set_xlabel("sets trained on", fontsize=9)
    left.set_ylabel("Dice, %", fontsize=9)
    right.set_xlabel("query tokens per scale", fontsize=9)
    for axes, line in ((left, unseen), (right, lines[UNSEEN])):
        axes.set_xticks([n for n, _ in line])
        axes.legend(fontsize=8, frameon=False)
        plain(axes, "y")
    write(figure, request.output / "figure6.png")
    hashes = [t.engine.network.hash for t in networks]
    keep(request, "figure6", facts, {"sets": unseen, "tokens": lines, "trained on": nested, "networks": hashes})


def growing(sets: Sequence[str], with_images: Sequence[str], seed: int) -> list[list[str]]:
    """1, 2, 4, ... and all of the sets, each holding those before it: shuffled, but sets without images last, since
    they teach nothing alone."""
    imaged = [n for n in sets if n in with_images]
    random.Random(seed).shuffle(imaged)
    order = imaged + [n for n in sets if n not in imaged]
    counts = [2**n for n in range(len(order)) if 2**n < len(order)] + [len(order)]
    return [order[:n] for n in counts]


def _line(axes: Axes, line: Line, name: str, color: int) -> None:
    shown = [(n, v) for n, v in line if v is not None]
    if not shown:
        return
    places, means = [n for n, _ in shown], [100 * v["mean"] for _, v in shown]
    between = [[100 * b for b in (v["interval"] or (v["mean"], v["mean"]))] for _, v in shown]
    for x, (low, high) in zip(places, between, strict=True):
        axes.plot([x, x], [low, high], color=COLORS[color], linewidth=1.4, alpha=0.6)
    axes.plot(places, means, color=COLORS[color], marker=MARKERS[color], markersize=5, linewidth=1.4, label=name)
