"""Where a strategy's references come from when a labelled set is evaluated: its train cases."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from ..context.bank import Average, MemoryBank
from ..context.pool import Pool
from ..context.preset import Preset
from ..engine import STRATEGIES, Engine, Progress
from ..engine.strategies import retrieved
from ..imaging.volume import Volume
from ..imaging.window import PREPROCESSING
from .dataset import LabelledSet

Chooser = Callable[[str, Volume], tuple[Preset, list[str]]]


def chooser(
    engine: Engine, labelled: LabelledSet, strategy: str, seed: int, show: Callable[[float, str], None]
) -> Chooser:
    """What gives each target (its name and image) its preset, and the names of the references in it.

    ``one-shot`` and ``ensemble``: random references of the target's own. Retrievals: from all train cases. ``tuning``:
    the same random references for all targets, tuned to each other. ``memory-bank``: all train cases, once.

    :raises IrisError: for a set without what it needs.
    """
    candidates = full_references(labelled)

    @lru_cache(maxsize=256)
    def encoded(case: str) -> Preset:
        return engine.encode(labelled.image(case), labelled.label(case), name=labelled.name)

    def ensemble(cases: list[str]) -> Preset:
        preset = encoded(cases[0])
        for other in cases[1:]:
            preset = preset.with_reference(encoded(other))
        return preset

    def at_random(case: str, image: Volume) -> tuple[Preset, list[str]]:
        cases = drawn(candidates, f"{seed} {case}", STRATEGIES[strategy])
        return ensemble(cases), cases

    if strategy in ("one-shot", "ensemble"):
        return at_random
    if strategy in ("object-retrieval", "image-retrieval"):
        pool, cases, case_of = Pool(engine.network.hash, PREPROCESSING), labelled.split("train"), {}
        for n, case in enumerate(cases):
            show(n / len(cases), f"{labelled.name}: encoding {case}")
            case_of[engine.add(pool, labelled.image(case), labelled.label(case))] = case
        shown = [name for name in labelled.classes.values() if name in pool.segments]
        count = min(STRATEGIES[strategy], *(len(pool.showing(name)) for name in shown))

        def by_likeness(case: str, image: Volume) -> tuple[Preset, list[str]]:
            chosen = retrieved(engine, pool, strategy, image, shown, count, f"{seed} {case}")
            rows = sorted({row for entries in chosen.values() for row in entries})
            return pool.preset(chosen, labelled.name), [case_of[pool.entries[row].hash] for row in rows]

        return by_likeness
    if strategy == "memory-bank":
        average = learned(engine, labelled, "train", show)
        bank = MemoryBank(engine.network.hash, PREPROCESSING, {labelled.name: average.preset(labelled.name)})
        preset = bank.preset()
        return lambda case, image: (preset, [])
    if strategy == "tuning":
        cases = drawn(candidates, f"{seed}", STRATEGIES[strategy])
        pairs = [(labelled.image(case), labelled.label(case)) for case in cases]
        tuned, _ = engine.tune(ensemble(cases), pairs, progress=Progress(show))
        return lambda case, image: (tuned, cases)
    raise ValueError(strategy)


def learned(engine: Engine, labelled: LabelledSet, split: str, show: Callable[[float, str], None]) -> Average:
    """A memory bank's averages over the cases of a split."""
    average, cases = Average(), labelled.split(split)
    for n, case in enumerate(cases):
        show(n / len(cases), f"{labelled.name}: encoding {case}")
        average.update(engine.encode(labelled.image(case), labelled.label(case), name=labelled.name))
    return average


def drawn(candidates: list[str], seed: str, count: int) -> list[str]:
    """Random cases by a seed; of more, the first are those of fewer."""
    return random.Random(seed).sample(candidates, min(count, len(candidates)))


def full_references(labelled: LabelledSet) -> list[str]:
    """The train cases that show the most classes, all of them where any does."""
    shown = {case: len(labelled.label(case).segments) for case in labelled.split("train")}
    most = max(shown.values())
    return [case for case, count in shown.items() if count == most]
