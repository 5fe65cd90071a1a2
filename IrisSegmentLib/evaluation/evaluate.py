"""Strategies over a labelled set: references from its train cases, targets from a split, whole images, no hints."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..context.preset import Preset
from ..engine import Engine
from ..errors import IrisError
from ..imaging.volume import Segmentation
from ..imaging.window import PREPROCESSING
from .baseline import copied_labels
from .dataset import LabelledSet
from .finished import Finished
from .metrics import TOLERANCE_MM, check_installed, dice, scores
from .pool import Pool
from .report import Report, report_of

STRATEGIES = {"one-shot": 1, "ensemble": 3}  # references per target


def evaluate(
    engine: Engine,
    labelled: LabelledSet,
    split: str = "test",
    strategy: str = "one-shot",
    *,
    seed: int = 0,
    limit: int | None = None,
    references: int | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    pool: Pool | None = None,
    finished: Finished | None = None,
    show: Callable[[float, str], None] = lambda fraction, text: None,
) -> Report:
    """Dice, surface Dice and 95 % Hausdorff distance of every case of a split, for the classes that its label shows.

    Each target has its own fixed random references, drawn by ``seed`` and its name from the train cases that show
    every class that the target might show (or, where no case shows all, the most). The target's label is used for
    scoring only. ``copy_dice`` is the reference's mask copied over after aligning the two scans' boxes.

    :param limit: only the first cases.
    :param references: per target; by default as many as the strategy is known for.
    :param tolerance_mm: of the surface Dice.
    :param pool: of a run before, so that its references are not encoded again.
    :param finished: cases that an interrupted run has done already; new ones are added to it.
    :return: what `report.report_of` says.
    :raises IrisError: for an unknown strategy, or a set without what is needed.
    """
    if strategy not in STRATEGIES:
        raise IrisError(f"There is no strategy '{strategy}'; choose one of {', '.join(STRATEGIES)}.")
    check_installed()
    cases = labelled.split(split)[:limit]
    run = run_of(engine, split, strategy, seed, references, tolerance_mm)
    finished = Finished(None, run) if finished is None else finished
    waiting = [case for case in cases if finished.get(labelled.name, case) is None]
    pool = Pool(engine, labelled) if pool is None else pool
    for n, case in enumerate(waiting):
        show(n / len(waiting), f"{labelled.name}: {case}")
        chosen, preset = task_for(case, pool, strategy, references, seed)
        image, truth = labelled.image(case), labelled.label(case)
        result = engine.segment(image, preset)
        names = [s.name for s in preset.segments]
        found = _compared(result.segmentation.layers[0], names, truth, tolerance_mm)
        copied = _shown(copied_labels(labelled.label(chosen[0]), image), names, truth)
        copy = {name: dice(a, b) for name, a, b in copied}
        finished.add(labelled.name, case, {"references": chosen, "seconds": result.seconds, **found, "copied": copy})
    show(1.0, labelled.name)
    whole = {case: finished.get(labelled.name, case) or {} for case in cases}
    return report_of(labelled.name, whole, {**run, "device": str(engine.device)})


def task_for(
    case: str, pool: Pool, strategy: str, references: int | None, seed: int
) -> tuple[list[str], Preset]:
    """Which references a target gets, and the preset made of them. Here strategies differ, and nowhere else."""
    count = min(references or STRATEGIES[strategy], len(pool.candidates))
    chosen = random.Random(f"{seed} {case}").sample(pool.candidates, count)
    preset = pool.preset(chosen[0])
    for other in chosen[1:]:
        preset = preset.with_reference(pool.preset(other))
    return chosen, preset


def run_of(
    engine: Engine, split: str, strategy: str, seed: int, references: int | None, tolerance_mm: float
) -> dict[str, Any]:
    """What a run's numbers hang on beside the case; finished cases are taken over only where all of it agrees."""
    return {
        "split": split,
        "strategy": strategy,
        "seed": seed,
        "references_per_target": references or STRATEGIES[strategy],
        "tolerance_mm": tolerance_mm,
        "network": engine.network.hash,
        "preprocessing": PREPROCESSING,
    }


def _compared(labels: NDArray[np.uint8], names: list[str], truth: Segmentation, tolerance_mm: float) -> dict[str, Any]:
    """Every metric per class that the case's manual label shows, and the classes of which nothing was found."""
    pairs = _shown(labels, names, truth)
    return {
        "scores": {name: scores(a, b, truth.spacing, tolerance_mm) for name, a, b in pairs},
        "missed": [name for name, a, _ in pairs if not a.any()],
    }


def _shown(
    labels: NDArray[np.uint8], names: list[str], truth: Segmentation
) -> list[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """(name, found, manual) of the classes that the manual label shows."""
    return [
        (segment.name, labels == names.index(segment.name) + 1, truth.mask(n))
        for n, segment in enumerate(truth.segments)
        if segment.name in names
    ]
