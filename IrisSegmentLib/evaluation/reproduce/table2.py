"""Table 2: anatomy that was never trained on, by one reference, against copying the mask.

For each anatomy a network is trained without every set that shows it. Beside it stands a network of the same budget
that saw everything: the difference is what having seen the anatomy is worth.
"""

from __future__ import annotations

from typing import Any

from ..report import summary
from .anatomies import several_anatomies
from .measure import measured
from .picture import dice_picture, dice_table
from .request import Facts, Request, keep
from .variants import budget_of, hashes_of, trained, training_sets, varied

COPIED, UNSEEN, SEEN = "mask copied", "never seen", "seen in training"


def make(request: Request) -> None:
    columns: dict[str, list[dict[str, Any] | None]] = {COPIED: [], UNSEEN: [], SEEN: []}
    numbers: dict[str, Any] = {}
    unseen_in_turn = several_anatomies(request)
    full = trained(request, varied(request, "every set", training_sets(request)))
    networks, names, cases = [full], [], 0
    for anatomy in unseen_in_turn:
        without = trained(
            request, varied(request, f"without {anatomy.name}", training_sets(request, anatomy.left_out))
        )
        networks.append(without)
        for labelled in anatomy.tested:
            unseen, seen = (measured(request, t.engine, labelled) for t in (without, full))
            copied = summary(unseen["copy_per_case"], request.seed)
            columns[COPIED].append(copied)
            columns[UNSEEN].append(unseen["metrics"]["dice"])
            columns[SEEN].append(seen["metrics"]["dice"])
            names.append(labelled.name if labelled.name == anatomy.name else f"{labelled.name} ({anatomy.name})")
            cases += len(unseen["per_case"])
            numbers[labelled.name] = {
                "left out": anatomy.left_out, COPIED: {"dice": copied},
                UNSEEN: unseen["metrics"], SEEN: seen["metrics"],
                "networks": {UNSEEN: without.engine.network.hash, SEEN: full.engine.network.hash},
            }  # fmt: skip
    print(dice_table(names, columns))
    facts = Facts(
        hashes_of(networks), request.split, cases, request.seed, budget=budget_of(request, networks),
        short="Networks: every set, then without each anatomy in turn. "
        f"Bars: 95 % bootstrap interval over cases{request.limited}.",
    )  # fmt: skip
    dice_picture(request.output / "table2.png", "One reference, anatomy never seen in training", facts, names, columns)
    keep(request, "table2", facts, numbers)
