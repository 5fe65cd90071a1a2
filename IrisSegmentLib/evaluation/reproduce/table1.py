"""Table 1: sets that the network was trained on, by one reference and by three, against a U-Net supervised per set.

The paper's Table 1 sets Iris against task-specific networks as an upper bound. Here both learn on this machine; how
long each did is said, since neither has converged.
"""

from __future__ import annotations

from typing import Any

from safetensors import safe_open

from ...network import bundled_weights
from ..references import References
from ..report import over_sets, summary
from .measure import measured, measured_supervised
from .picture import dice_picture, dice_table
from .request import Facts, Request, keep

STRATEGIES = {"one reference": "one-shot", "up to three": "ensemble"}
SUPERVISED = "supervised U-Net"
COPIED = "mask copied"


def make(request: Request) -> None:
    columns: dict[str, list[dict[str, Any] | None]] = {COPIED: [], **{n: [] for n in STRATEGIES}, SUPERVISED: []}
    numbers: dict[str, Any] = {}
    steps, cases = [], 0
    for labelled in request.sets:
        found, pool = {}, References(request.engine, labelled)
        for column, strategy in reversed(STRATEGIES.items()):  # one reference last: it is the one whose mask is copied
            report = measured(request, request.engine, labelled, strategy, known=pool)
            found[column] = report["metrics"]
            columns[column].append(report["metrics"]["dice"])
        cases += len(report["per_case"])
        copied = summary(report["copy_per_case"], request.seed)
        columns[COPIED].append(copied)
        found[COPIED] = {"dice": copied}
        if request.hours > 0:
            found[SUPERVISED], count = measured_supervised(request, labelled)
            steps.append(count)
            columns[SUPERVISED].append(found[SUPERVISED]["dice"])
        numbers[labelled.name] = found
    if not steps:
        del columns[SUPERVISED]
    names = [s.name for s in request.sets]
    if len(names) > 1:
        names.append("mean of sets")
        for values in columns.values():
            values.append(over_sets([v for v in values if v], request.seed))
    print(dice_table(names, columns))
    facts = Facts(
        request.engine.network.hash, request.split, cases, request.seed,
        budget=_budget(request, steps),
        short="Dots: mean over classes of the mean over cases; bars: 95 % bootstrap interval over cases"
        f"{request.limited}. The paper trained for 80,000 iterations of 32 on a GPU.",
    )  # fmt: skip
    dice_picture(request.output / "table1.png", "Sets seen in training: Dice of unseen patients", facts, names, columns)
    keep(request, "table1", facts, numbers)


def _budget(request: Request, steps: list[int]) -> str:
    """Both sides' training, as far as the network's file tells."""
    with safe_open(request.network or bundled_weights(), "pt") as file:
        hours = (file.metadata() or {}).get("hours")
    iris = f"Iris: {hours} h in its last run, for all sets together. " if hours else ""
    if not steps:
        return f"{iris}No U-Net was trained (--hours 0)."
    return f"{iris}U-Net: {request.hours:g} h for each set ({min(steps)} to {max(steps)} steps), on the same machine."
