"""Strategies over a labelled set: references from its train cases, targets from a split, whole images, no hints."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..context.preset import Preset
from ..engine import Engine
from ..errors import IrisError
from ..imaging.volume import Segmentation
from .baseline import copied_labels
from .dataset import LabelledSet
from .metrics import dice

STRATEGIES = {"one-shot": 1, "ensemble": 3}  # references per target

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
    every class that the target might show (or, where no case shows all, the most). The target's label is used for
    scoring only. ``copy_dice`` is the reference's mask copied over after aligning the two scans' boxes.

    :param limit: only the first cases.
    :return: ``mean_dice`` (mean over classes of the mean over cases), ``per_class``, ``per_case``, ``references``,
        ``seconds_per_target`` and what they hang on, ready for JSON.
    :raises IrisError: for an unknown strategy, or a set without what is needed.
    """
    if strategy not in STRATEGIES:
        raise IrisError(f"There is no strategy '{strategy}'; choose one of {', '.join(STRATEGIES)}.")
    cases = labelled.split(split)[:limit]
    candidates = full_references(labelled)

    @lru_cache(maxsize=256)
    def encoded(case: str) -> Preset:
        return engine.encode(labelled.image(case), labelled.label(case), name=labelled.name)

    per_case: dict[str, dict[str, float]] = {}
    copied: dict[str, dict[str, float]] = {}
    references: dict[str, list[str]] = {}
    seconds = []
    for n, case in enumerate(cases):
        show(n / len(cases), f"{labelled.name}: {case}")
        chosen = random.Random(f"{seed} {case}").sample(candidates, min(STRATEGIES[strategy], len(candidates)))
        references[case] = chosen
        preset = encoded(chosen[0])
        for other in chosen[1:]:
            preset = preset.with_reference(encoded(other))
        image, truth = labelled.image(case), labelled.label(case)
        result = engine.segment(image, preset)
        seconds.append(result.seconds)
        names = [s.name for s in preset.segments]
        per_case[case] = _scores(result.segmentation.layers[0], names, truth)
        copied[case] = _scores(copied_labels(labelled.label(chosen[0]), image), names, truth)
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


def full_references(labelled: LabelledSet) -> list[str]:
    """The train cases that show the most classes, all of them where any does."""
    shown = {case: len(labelled.label(case).segments) for case in labelled.split("train")}
    most = max(shown.values())
    return [case for case, count in shown.items() if count == most]


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
