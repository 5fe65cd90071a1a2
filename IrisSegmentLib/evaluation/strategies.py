"""Where a strategy's references come from when a labelled set is evaluated: its train cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..context.bank import Average, MemoryBank
from ..context.pool import Pool
from ..context.preset import Preset
from ..engine import STRATEGIES, Engine, Progress
from ..engine.strategies import retrieved
from ..imaging.volume import Volume
from ..imaging.window import PREPROCESSING
from .dataset import LabelledSet
from .references import References

Chooser = Callable[[str, Volume], tuple[Preset, list[str]]]


def chooser(
    engine: Engine,
    labelled: LabelledSet,
    strategy: str,
    seed: int,
    known: References,
    count: int | None = None,
    show: Callable[[float, str], None] = lambda fraction, text: None,
) -> Chooser:
    """What gives each target (its name and image) its preset, and the names of the references in it.

    ``one-shot`` and ``ensemble``: random references of the target's own. ``tuning``: the same random references for
    all targets, tuned to each other. Retrievals choose among all train cases, and ``memory-bank`` averages them.

    :param count: of references that a strategy may draw on, instead of those numbers.
    :raises IrisError: for a set without what it needs.
    """
    if strategy in ("one-shot", "ensemble"):

        def at_random(case: str, image: Volume) -> tuple[Preset, list[str]]:
            cases = known.drawn(f"{seed} {case}", count or STRATEGIES[strategy])
            return known.preset(cases), cases

        return at_random
    if strategy == "tuning":
        cases = known.drawn(f"{seed}", count or STRATEGIES[strategy])
        pairs = [(labelled.image(case), labelled.label(case)) for case in cases]
        tuned, _ = engine.tune(known.preset(cases), pairs, progress=Progress(show))
        return lambda case, image: (tuned, cases)
    cases = labelled.split("train") if count is None else known.drawn(f"{seed}", count)
    if strategy == "memory-bank":
        average = learned(engine, labelled, cases, show)
        preset = MemoryBank(engine.network.hash, PREPROCESSING, {labelled.name: average.preset(labelled.name)}).preset()
        return lambda case, image: (preset, [])
    return _by_likeness(engine, labelled, strategy, seed, cases, show)


def _by_likeness(
    engine: Engine, labelled: LabelledSet, strategy: str, seed: int, cases: Sequence[str],
    show: Callable[[float, str], None],
) -> Chooser:
    """Object or image retrieval from a pool of the cases."""
    pool, case_of = Pool(engine.network.hash, PREPROCESSING), {}
    for n, case in enumerate(cases):
        show(n / len(cases), f"{labelled.name}: encoding {case}")
        case_of[engine.add(pool, labelled.image(case), labelled.label(case))] = case
    shown = [name for name in labelled.classes.values() if name in pool.segments]
    count = min(STRATEGIES[strategy], *(len(pool.showing(name)) for name in shown))

    def choose(case: str, image: Volume) -> tuple[Preset, list[str]]:
        chosen = retrieved(engine, pool, strategy, image, shown, count, f"{seed} {case}")
        rows = sorted({row for entries in chosen.values() for row in entries})
        return pool.preset(chosen, labelled.name), [case_of[pool.entries[row].hash] for row in rows]

    return choose


def learned(
    engine: Engine, labelled: LabelledSet, cases: Sequence[str], show: Callable[[float, str], None]
) -> Average:
    """A memory bank's averages over cases of a set."""
    average = Average()
    for n, case in enumerate(cases):
        show(n / len(cases), f"{labelled.name}: encoding {case}")
        average.update(engine.learned(labelled.image(case), labelled.label(case), name=labelled.name))
    return average
