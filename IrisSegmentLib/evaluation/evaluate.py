"""Strategies over a labelled set: references from its train cases, targets from a split, whole images, no hints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import STRATEGIES, Engine
from ..engine.strategies import check_strategy
from ..imaging.volume import Segmentation
from ..imaging.window import PREPROCESSING
from .baseline import copied_labels
from .dataset import LabelledSet
from .finished import Finished
from .metrics import TOLERANCE_MM, check_installed, dice, scores
from .references import References
from .report import Report, report_of
from .strategies import chooser


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
    known: References | None = None,
    finished: Finished | None = None,
    show: Callable[[float, str], None] = lambda fraction, text: None,
) -> Report:
    """Dice, surface Dice and 95 % Hausdorff distance of every case of a split, for the classes that its label shows.

    Each target has its own fixed random references, drawn by ``seed`` and its name from the train cases that show
    every class that the target might show (or, where no case shows all, the most); how the other strategies choose,
    `chooser` says. The target's label is used for scoring only. ``copy_dice`` is the mask of the target's one random
    reference, copied over after aligning the two scans' boxes.

    :param limit: only the first cases.
    :param references: that the strategy may draw on; by default as many as it is known for.
    :param tolerance_mm: of the surface Dice.
    :param known: references of a run before, so that they are not encoded again.
    :param finished: cases that an interrupted run has done already; new ones are added to it.
    :return: what `report.report_of` says.
    :raises IrisError: for an unknown strategy, or a set without what is needed.
    """
    check_strategy(strategy)
    check_installed()
    cases = labelled.split(split)[:limit]
    run = run_of(engine, split, strategy, seed, references, tolerance_mm)
    finished = Finished(None, run) if finished is None else finished
    waiting = [case for case in cases if finished.get(labelled.name, case) is None]
    known = References(engine, labelled) if known is None else known
    choose = chooser(engine, labelled, strategy, seed, known, references, show) if waiting else None
    for n, case in enumerate(waiting):
        assert choose is not None
        show(n / len(waiting), f"{labelled.name}: {case}")
        image, truth = labelled.image(case), labelled.label(case)
        preset, chosen = choose(case, image)
        (alone,) = known.drawn(f"{seed} {case}", 1)
        result = engine.segment(image, preset)
        names = [s.name for s in preset.segments]
        found = _compared(result.segmentation.layers[0], names, truth, tolerance_mm)
        copied = _shown(copied_labels(labelled.label(alone), image), names, truth)
        copy = {name: dice(a, b) for name, a, b in copied}
        trust = {name: c for name, c in zip(names, result.confidence, strict=True) if name in found["scores"]}
        signs = {name: asdict(s) for name, s in zip(names, result.signs, strict=True) if name in found["scores"]}
        line = {
            "references": chosen, "seconds": result.seconds, **found, "copied": copy, "confidence": trust,
            "signs": signs,
        }  # fmt: skip
        finished.add(labelled.name, case, line)
    show(1.0, labelled.name)
    whole = {case: finished.get(labelled.name, case) or {} for case in cases}
    return report_of(labelled.name, whole, {**run, "device": str(engine.device)})


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
