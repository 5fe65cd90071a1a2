"""Figure 5: do embeddings of one task lie together, over cases, sets and modalities, though only masks were learned?

The embedding of a class is all its tokens from the closer look at one reference, each scale brought to length one.
t-SNE keeps neighbors and not distances; the table therefore counts neighbors among the embeddings themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from ...context.preset import write_whole
from ...engine import Engine
from ...errors import IrisError
from ..dataset import LabelledSet
from ..report import aligned
from .page import page
from .picture import COLORS, MARKERS, new_figure, plain, write
from .request import Facts, Request, keep


@dataclass(frozen=True)
class Embedded:
    """One class of one case.

    :param vector: (E,), of length one.
    """

    set: str
    modality: str
    case: str
    split: str
    name: str
    vector: NDArray[np.float32]


def make(request: Request) -> None:
    """:raises IrisError: when there are too few embeddings for a map."""
    found: list[Embedded] = []
    for labelled in request.sets:
        found += embedded(request.engine, labelled, request)
    if len(found) < 4:
        raise IrisError(f"A map of {len(found)} task embeddings says nothing; give more cases.")
    vectors = np.stack([e.vector for e in found])
    rows = neighbors(found, vectors)
    head = ["set", "class", "train", "test", "same class, %", "same task, %", "task by chance, %"]
    print(aligned([head, *rows]))
    print(
        "same class: test embeddings whose nearest train embedding (cosine) is of the same set and class; same task:\n"
        "of that class in any set; by chance: the share of such train embeddings. Scans of one patient do not count."
    )
    places = mapped(vectors, request.seed)
    cases = len({(e.set, e.case) for e in found if e.split == request.split})
    limited = f"the first {request.limit} cases of each set and split" if request.limit else "every train and test case"
    facts = Facts(
        request.engine.network.hash, "train and test", cases, request.seed,
        drawn="every case a reference, t-SNE started",
        short=f"Each point is one class of one case as reference, {limited} ({cases} test cases); t-SNE, cosine, "
        f"perplexity {perplexity(len(found)):.0f}: neighbors mean something, distances between groups do not.",
    )  # fmt: skip
    _draw(request, found, places, facts)
    title = "Task embeddings, by set and class"
    points = [(e.set, e.name, e.case, e.split, float(x), float(y)) for e, (x, y) in zip(found, places, strict=True)]
    write_whole(request.output / "figure5.html", page(title, points, colors(found), facts.lines()).encode())
    counted = [dict(zip(head, row, strict=True)) for row in rows]
    keep(request, "figure5", facts, {"neighbors": counted, "points": points})


def embedded(engine: Engine, labelled: LabelledSet, request: Request) -> list[Embedded]:
    """Every class of the train and test cases of a set."""
    found, show = [], request.bar("Embed")
    cases = [(split, c) for split in ("train", request.split) for c in labelled.split(split)[: request.limit]]
    for n, (split, case) in enumerate(cases):
        show(n / len(cases), f"{labelled.name}: {case}")
        label = labelled.label(case)
        preset = engine.learned(labelled.image(case), label, name=labelled.name)
        tokens = preset.references[0].levels["fine"].tokens
        for k, segment in enumerate(label.segments):
            scales = [torch.nn.functional.normalize(t[k].float().flatten(), dim=0) for t in tokens]
            vector = (torch.cat(scales) / len(scales) ** 0.5).numpy()
            found.append(Embedded(labelled.name, labelled.modality, case, split, segment.name, vector))
    show(1.0, labelled.name)
    return found


def neighbors(found: list[Embedded], vectors: NDArray[np.float32]) -> list[list[str]]:
    """Per set and class: how often the nearest train embedding of another case is of the same class and task."""
    train = [n for n, e in enumerate(found) if e.split == "train"]
    rows = []
    for key in dict.fromkeys((e.set, e.name) for e in found):
        tests = [n for n, e in enumerate(found) if e.split != "train" and (e.set, e.name) == key]
        ours = [n for n in train if (found[n].set, found[n].name) == key]
        named = [n for n in train if found[n].name == key[1]]
        same_class, same_task = [], []
        for n in tests:
            # Sets may share their patients: a scan of the same patient is no neighbor.
            others = [m for m in train if found[m].case != found[n].case]
            if others:
                best = found[others[int(np.argmax(vectors[others] @ vectors[n]))]]
                same_class.append((best.set, best.name) == key)
                same_task.append(best.name == key[1])
        shares = [f"{100 * np.mean(s):.0f}" if s else "" for s in (same_class, same_task)]
        chance = f"{100 * len(named) / len(train):.0f}" if train else ""
        rows.append([*key, str(len(ours)), str(len(tests)), *shares, chance])
    return rows


def mapped(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """(N, E) to places in a plane (N, 2)."""
    tsne = TSNE(2, perplexity=perplexity(len(vectors)), metric="cosine", init="random", random_state=seed)
    return tsne.fit_transform(vectors)


def perplexity(count: int) -> float:
    return float(min(30, max(1, (count - 1) / 3)))


def colors(found: list[Embedded]) -> dict[str, str]:
    """A color per set."""
    return {name: COLORS[n % len(COLORS)] for n, name in enumerate(dict.fromkeys(e.set for e in found))}


def _draw(request: Request, found: list[Embedded], places: NDArray[np.float32], facts: Facts) -> None:
    figure = new_figure(10, 6.5, "Task embeddings: a color per set, a shape per class", facts)
    axes = figure.add_subplot()
    shapes: dict[str, int] = {}  # how many classes of a set were drawn
    for key in dict.fromkeys((e.set, e.name) for e in found):
        color, marker = colors(found)[key[0]], MARKERS[shapes.get(key[0], 0) % len(MARKERS)]
        shapes[key[0]] = shapes.get(key[0], 0) + 1
        for split in ("train", request.split):
            index = [n for n, e in enumerate(found) if (e.set, e.name) == key and e.split == split]
            face, label = (color, f"{key[0]}: {key[1]}") if split != "train" else ("none", None)
            axes.scatter(
                places[index, 0], places[index, 1], s=26, marker=marker, facecolors=face, edgecolors=color,
                linewidths=0.8, alpha=0.6 if split == "train" else 1.0, label=label,
            )  # fmt: skip
    plain(axes, "both")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")
    axes.set_xlabel("t-SNE, no unit", fontsize=8)
    axes.legend(
        title=f"filled: {request.split}, hollow: train", fontsize=8, title_fontsize=8, frameon=False,
        loc="upper left", bbox_to_anchor=(1.0, 1.0), alignment="left",
    )  # fmt: skip
    write(figure, request.output / "figure5.png")
