"""Table 4: what each part of the network is worth, each variant trained anew with the same budget and without one part.

High resolution: the mask keeps its voxels within a cell (Eq. 3 and 4), against its mean per cell. Foreground: the
token of features pooled under the mask (Eq. 2). Query: the learned tokens that look at the cells. The fourth part is
ours: dense affinity. All are trained without one anatomy, which is what is measured as unseen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dataset import LabelledSet
from ..report import PerCase, aligned, over_sets, summary
from .anatomies import Anatomy, several_anatomies
from .measure import measured
from .picture import dots, new_figure, percent, write
from .request import Facts, Request, keep
from .variants import Trained, budget_of, hashes_of, trained, training_sets, varied

SWITCHES: dict[str, dict[str, object]] = {
    "all parts": {},
    "mask at low resolution": {"finest": 1},
    "no foreground token": {"foreground": False},
    "no query tokens": {"tokens": 0},
    "no dense affinity": {"affinity": 0},
}
SMALL_ML = 10.0
SEEN, SMALL, UNSEEN = "seen", f"seen, below {SMALL_ML:g} mL", "unseen"


def make(request: Request) -> None:
    held = held_out(request)
    sets = training_sets(request, held.left_out)
    networks = [trained(request, varied(request, name, sets, **s)) for name, s in SWITCHES.items()]
    scores = [by_column(request, t, held) for t in networks]
    columns = {c: [s["dice"].get(c) for s in scores] for c in (SEEN, SMALL, UNSEEN)}
    rows = [
        [t.variant.name, str(t.steps), *(percent(values[n]) for values in columns.values())]
        for n, t in enumerate(networks)
    ]
    print(aligned([["Dice, %", "steps", *columns], *rows]))
    facts = Facts(
        hashes_of(networks), request.split, scores[0]["cases"], request.seed, budget=budget_of(request, networks),
        short=f"Unseen: {held.name}. One reference. Bars: 95 % bootstrap interval over cases{request.limited}. "
        "Dense affinity, in the first four, carries masks at a quarter of the resolution by itself.",
    )  # fmt: skip
    figure = new_figure(8, 1.2 + 0.6 * len(rows), "What each part is worth", facts)
    axes = figure.add_subplot()
    dots(axes, [t.variant.name for t in networks], columns)
    axes.set_xlabel("Dice, %", fontsize=9)
    write(figure, request.output / "table4.png")
    numbers = {
        t.variant.name: {"network": t.engine.network.hash, "steps": t.steps, **s}
        for t, s in zip(networks, scores, strict=True)
    }
    keep(request, "table4", facts, numbers)


def held_out(request: Request) -> Anatomy:
    """The anatomy that ablations leave out of training: the heart where it is given, else the last.

    :raises IrisError: when there is only one.
    """
    found = several_anatomies(request)
    return next((a for a in found if a.name == "heart"), found[-1])


def by_column(request: Request, network: Trained, held: Anatomy) -> dict[str, Any]:
    """Dice of the seen sets, of their small structures and of the unseen sets; and how many cases were measured."""
    unseen = {s.folder.name for s in held.tested}
    seen_dice, small_dice, unseen_dice, cases = [], [], [], 0
    for labelled in request.sets:
        report = measured(request, network.engine, labelled)
        dice: dict[str, Any] = report["metrics"]["dice"]
        cases += len(report["per_case"])
        if labelled.folder.name in unseen:
            unseen_dice.append(dice)
        elif labelled.folder.name not in held.left_out:
            seen_dice.append(dice)
            small = small_classes(labelled, list(report["per_case"]))
            per_case: PerCase = {
                c: kept for c, s in report["per_case"].items() if (kept := {k: v for k, v in s.items() if k in small})
            }
            if per_case:
                small_dice.append(summary(per_case, request.seed))
    found = {SEEN: seen_dice, SMALL: small_dice, UNSEEN: unseen_dice}
    return {"dice": {k: over_sets(v, request.seed) for k, v in found.items() if v}, "cases": cases}


def small_classes(labelled: LabelledSet, cases: list[str]) -> set[str]:
    """Classes whose manual volume is below `SMALL_ML` in half of the cases that show them."""
    volumes: dict[str, list[float]] = {}
    for case in cases:
        label = labelled.label(case)
        for segment, ml in zip(label.segments, label.volumes_ml(), strict=True):
            volumes.setdefault(segment.name, []).append(ml)
    return {name for name, ml in volumes.items() if np.median(ml) < SMALL_ML}
