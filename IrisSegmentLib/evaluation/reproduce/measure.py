"""Measuring for a picture: every finished case is kept in the output folder, so that results share what they measure
and an interrupted reproduction goes on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ...engine import Engine
from ..dataset import LabelledSet
from ..evaluate import evaluate, run_of
from ..finished import Finished
from ..metrics import METRICS, TOLERANCE_MM, scores
from ..references import References
from ..report import Report, summary
from .request import Request
from .supervised import Supervised


def measured(
    request: Request,
    engine: Engine,
    labelled: LabelledSet,
    strategy: str = "one-shot",
    *,
    references: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    known: References | None = None,
) -> Report:
    """`evaluate` of one set, with its finished cases kept under what they hang on.

    :param seed: of the references; limit: only the first cases; both the request's by default.
    """
    seed = request.seed if seed is None else seed
    run = {
        **run_of(engine, request.split, strategy, seed, references, TOLERANCE_MM),
        "pool": digest(known.candidates if known else labelled.cases),
    }
    name = f"{labelled.name} {strategy} {request.split} {digest(run)}"
    return evaluate(
        engine, labelled, request.split, strategy, seed=seed, limit=limit or request.limit,
        references=references, known=known, finished=_kept(request, name, run), show=request.bar(strategy),
    )  # fmt: skip


def measured_supervised(request: Request, labelled: LabelledSet) -> tuple[dict[str, Any], int]:
    """Every metric's `summary` for a U-Net trained on the set, and its steps of training."""
    path = request.output / "runs" / f"unet {labelled.name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    net = Supervised(labelled, path, request.hours, request.seed, request.bar("Train"))
    run = {"unet": labelled.name, "weights": hashlib.sha256(path.read_bytes()).hexdigest(), "split": request.split}
    finished = _kept(request, f"unet {labelled.name} {request.split} {digest(run)}", run)
    cases, show = labelled.split(request.split)[: request.limit], request.bar("U-Net")
    found = {}
    for n, case in enumerate(cases):
        show(n / len(cases), f"{labelled.name}: {case}")
        kept = finished.get(labelled.name, case)
        if kept is None:
            image, truth = labelled.image(case), labelled.label(case)
            labels = net.segment(image)
            kept = {
                "scores": {
                    s.name: scores(labels == net.names.index(s.name) + 1, truth.mask(k), image.spacing)
                    for k, s in enumerate(truth.segments)
                }
            }
            finished.add(labelled.name, case, kept)
        found[case] = kept["scores"]
    show(1.0, labelled.name)
    by_metric = {m: {c: {k: v[m] for k, v in s.items()} for c, s in found.items()} for m in METRICS}
    return {m: summary(values, request.seed) for m, values in by_metric.items()}, net.steps


def _kept(request: Request, name: str, run: dict[str, Any]) -> Finished:
    folder = request.output / "measured"
    folder.mkdir(exist_ok=True)
    return Finished(folder / f"{name}.jsonl", run)


def digest(words: Any) -> str:
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:12]
