"""Figure 4: how strategies use a pool of references, by the share of it that a target gets; ten random draws each."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from ..dataset import LabelledSet
from ..references import References
from ..report import aligned
from .measure import measured
from .picture import COLORS, MARKERS, new_figure, plain, write
from .request import Facts, Request, keep

STRATEGIES = ("ensemble", "image-retrieval", "object-retrieval", "tuning", "memory-bank")
LEAST = {"tuning": 2}  # references without which a strategy is none
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
REPEATS = 10
LARGEST_POOL = 20  # references per set
TARGETS = 5  # per set, where no limit was given

Spread = dict[str, Any]  # mean and standard deviation of the repeats' mean Dice, in 0..1


def make(request: Request) -> None:
    limit = request.limit or TARGETS
    pools = {s.name: pool_of(request, s) for s in request.sets}
    cases = sum(len(s.split(request.split)[:limit]) for s in request.sets)
    found = {strategy: [spread(request, pools, strategy, share, limit) for share in SHARES] for strategy in STRATEGIES}
    rows = [
        [f"{100 * share:g} %", *(_cell(found[s][n]) for s in STRATEGIES)] for n, share in enumerate(SHARES)
    ]
    print(aligned([["share of the pool", *STRATEGIES], *rows]))
    sizes = [len(p.candidates) for p in pools.values()]
    size = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    facts = Facts(
        request.engine.network.hash, request.split, cases, request.seed, drawn=f"pool and {REPEATS} draws",
        short=f"Pools of {size} references for each set (the paper: all), at least one for each target; "
        f"the first {limit} targets of each set. Mean of {len(pools)} sets; bars: standard deviation of the draws.",
    )  # fmt: skip
    figure = new_figure(7, 4, "Strategies by share of the reference pool", facts)
    axes = figure.add_subplot()
    for n, (strategy, spreads) in enumerate(found.items()):
        drawn = [(share, s) for share, s in zip(SHARES, spreads, strict=True) if s is not None]
        axes.errorbar(
            [100 * x for x, _ in drawn], [100 * s["mean"] for _, s in drawn], [100 * s["deviation"] for _, s in drawn],
            color=COLORS[n], marker=MARKERS[n], markersize=5, linewidth=1.4, capsize=3, label=strategy,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks([100 * s for s in SHARES], [f"{100 * s:g}" for s in SHARES])
    axes.minorticks_off()
    axes.set_xlabel("share of the pool that a target gets, % (logarithmic)", fontsize=9)
    axes.set_ylabel("Dice, %", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    plain(axes, "both")
    write(figure, request.output / "figure4.png")
    numbers = {"shares": SHARES, "strategies": found, "pools": {n: p.candidates for n, p in pools.items()}}
    keep(request, "figure4", facts, numbers)


def pool_of(request: Request, labelled: LabelledSet) -> References:
    """At most `LARGEST_POOL` references of a set, drawn by the seed."""
    pool = References(request.engine, labelled)
    if len(pool.candidates) > LARGEST_POOL:
        pool.candidates = sorted(random.Random(request.seed).sample(pool.candidates, LARGEST_POOL))
    return pool


def spread(
    request: Request, pools: dict[str, References], strategy: str, share: float, limit: int
) -> Spread | None:
    """Mean and deviation, over draws of references, of the mean over sets; None where the share is too small."""
    if min(round(share * len(p.candidates)) for p in pools.values()) < LEAST.get(strategy, 0):
        return None
    draws = []
    for repeat in range(REPEATS):
        scores, certain = [], strategy == "ensemble"
        for labelled in request.sets:
            pool = pools[labelled.name]
            count = max(1, round(share * len(pool.candidates)))
            certain &= count == len(pool.candidates)
            report = measured(
                request, request.engine, labelled, strategy, references=count, seed=request.seed + repeat,
                limit=limit, known=pool,
            )  # fmt: skip
            scores.append(report["mean_dice"])
        draws.append(float(np.mean(scores)))
        if certain:  # every draw takes the whole pool
            break
    return {"mean": float(np.mean(draws)), "deviation": float(np.std(draws)), "draws": draws}


def _cell(value: Spread | None) -> str:
    return "-" if value is None else f"{100 * value['mean']:.2f} +- {100 * value['deviation']:.2f}"
