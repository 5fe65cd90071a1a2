"""Strategies over a labelled set: references from its train cases, targets from a split, whole images, no hints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Engine
from ..engine.strategies import check_strategy
from ..imaging.volume import Segmentation
from .baseline import copied_labels
from .dataset import LabelledSet
from .metrics import dice
from .strategies import chooser, drawn, full_references

Report = dict[str, Any]


def evaluate(
    engine: Engine,
    labelled: LabelledSet,
    split: str = "test",
    strategy: str = "one-shot",
    *,
    seed: int = 0,
    limit: int | None = None,
    show: Callable[[float, str], None] = lambda fraction, text: None,
) -> Report:
    """Dice of every case of a split.

    Each target has its own fixed random references, drawn by ``seed`` and its name from the train cases that show
    every class that the target might show (or, where no case shows all, the most); how the other strategies choose,
    `chooser` says. The target's label is used for scoring only. ``copy_dice`` is the mask of the target's one random
    reference, copied over after aligning the two scans' boxes.

    :param limit: only the first cases.
    :return: ``mean_dice`` (mean over classes of the mean over cases), ``per_class``, ``per_case``, ``references``,
        ``seconds_per_target`` and what they hang on, ready for JSON.
    :raises IrisError: for an unknown strategy, or a set without what is needed.
    """
    check_strategy(strategy)
    cases = labelled.split(split)[:limit]
    choose = chooser(engine, labelled, strategy, seed, show)
    candidates = full_references(labelled)
    per_case: dict[str, dict[str, float]] = {}
    copied: dict[str, dict[str, float]] = {}
    references: dict[str, list[str]] = {}
    seconds = []
    for n, case in enumerate(cases):
        show(n / len(cases), f"{labelled.name}: {case}")
        image, truth = labelled.image(case), labelled.label(case)
        preset, references[case] = choose(case, image)
        result = engine.segment(image, preset)
        seconds.append(result.seconds)
        (alone,) = drawn(candidates, f"{seed} {case}", 1)
        names = [s.name for s in preset.segments]
        per_case[case] = _scores(result.segmentation.layers[0], names, truth)
        copied[case] = _scores(copied_labels(labelled.label(alone), image), names, truth)
    show(1.0, labelled.name)
    return {
        "set": labelled.name,
        "split": split,
        "strategy": strategy,
        "seed": seed,
        "mean_dice": mean_dice(per_case),
        "copy_dice": mean_dice(copied),
        "per_class": per_class(per_case),
        "copy_per_class": per_class(copied),
        "per_case": per_case,
        "references": references,
        "seconds_per_target": float(np.mean(seconds)),
        "network": engine.network.hash,
        "device": str(engine.device),
    }


def per_class(per_case: dict[str, dict[str, float]]) -> dict[str, float]:
    """Mean Dice per class over the cases that show it."""
    names = sorted({name for scores in per_case.values() for name in scores})
    return {name: float(np.mean([s[name] for s in per_case.values() if name in s])) for name in names}


def mean_dice(per_case: dict[str, dict[str, float]]) -> float:
    """Mean over classes of the mean over cases."""
    return float(np.mean(list(per_class(per_case).values())))


def _scores(labels: np.ndarray, names: list[str], truth: Segmentation) -> dict[str, float]:
    """Dice per class that the case's manual label shows."""
    return {
        segment.name: dice(labels == names.index(segment.name) + 1, truth.mask(n))
        for n, segment in enumerate(truth.segments)
        if segment.name in names
    }
