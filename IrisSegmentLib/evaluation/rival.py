"""The network against registration on the same pairs: one reference, one target, the same mask."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..context.preset import Preset
from ..engine import Engine
from ..imaging.volume import Volume
from .baseline import copied_labels
from .dataset import LabelledSet
from .metrics import dice
from .references import References
from .registration import registered_labels
from .report import aligned, summary, with_interval

METHODS = ("copied", "registered", "network")


def rival(
    engine: Engine,
    labelled: LabelledSet,
    split: str = "test",
    *,
    seed: int = 0,
    limit: int | None = None,
    show: Callable[[float, str], None] = lambda fraction, text: None,
) -> dict[str, Any]:
    """Dice of a set's cases by the very references that `evaluate` draws for one-shot: copied, registered, and the
    network's.

    :return: ``dice``: for each of `METHODS` what `report.summary` gives; ``seconds``: of the processor per target, all
        threads together, which other work on the machine does not change. The network's are without the encoding of
        its reference, which it does once for all targets.
    :raises IrisError: as `LabelledSet.split`.
    """
    known = References(engine, labelled)
    cases = labelled.split(split)[:limit]
    scores: dict[str, dict[str, dict[str, float]]] = {method: {} for method in METHODS}
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    for n, case in enumerate(cases):
        show(n / len(cases), f"{labelled.name}: {case}")
        (alone,) = known.drawn(f"{seed} {case}", 1)
        preset = known.preset([alone])
        names = [s.name for s in preset.segments]
        image, truth = labelled.image(case), labelled.label(case)
        scan, marked = labelled.image(alone), labelled.label(alone)
        ways: dict[str, Callable[[], NDArray]] = {
            "copied": partial(copied_labels, marked, image),
            "registered": partial(registered_labels, scan, marked, image),
            "network": partial(_segmented, engine, image, preset),
        }
        for method, way in ways.items():
            started = time.process_time()
            labels = way()
            seconds[method].append(time.process_time() - started)
            scores[method][case] = {
                s.name: dice(labels == names.index(s.name) + 1, truth.mask(k))
                for k, s in enumerate(truth.segments)
                if s.name in names
            }
    show(1.0, labelled.name)
    return {
        "set": labelled.name, "split": split, "seed": seed, "network": engine.network.hash, "cases": len(cases),
        "dice": {method: summary(scores[method], seed) for method in METHODS},
        "seconds": {method: float(np.mean(seconds[method])) for method in METHODS},
    }  # fmt: skip


def _segmented(engine: Engine, image: Volume, preset: Preset) -> NDArray:
    return engine.segment(image, preset).segmentation.layers[0]


def table(results: list[dict[str, Any]]) -> str:
    """Results of several sets as lines to read."""
    rows = [["Dice", "cases", *METHODS, "registered, s", "network, s"]]
    for found in results:
        cells = [with_interval(found["dice"][method]) for method in METHODS]
        spent = [f"{found['seconds'][method]:.1f}" for method in METHODS[1:]]
        rows.append([found["set"], str(found["cases"]), *cells, *spent])
    return aligned(rows)
