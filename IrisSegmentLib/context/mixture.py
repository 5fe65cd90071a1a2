"""One reference in place of several that show different classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..network import TaskEmbeddings
from .arrangement import mean_place
from .ensemble import joined
from .levels import LEVELS, alone
from .preset import Reference, mean_vectors, numbers


def mixed(
    parts: Sequence[tuple[Reference, Sequence[str]]], names: Sequence[str], counts: Sequence[Sequence[bool]]
) -> Reference:
    """One reference in place of several that show different classes.

    :param parts: references, each with the names of its classes, in the order of its embeddings.
    :param names: the classes wanted.
    :param counts: per reference, for which of ``names`` it counts; it must show them.
    """
    levels = {
        level: joined([_picked(r.levels[level], shown, names) for r, shown in parts], counts).half() for level in LEVELS
    }
    places = []
    if all(reference.places for reference, _ in parts):
        for n, name in enumerate(names):
            counted = [(r, shown.index(name)) for (r, shown), c in zip(parts, counts, strict=True) if c[n]]
            levels[alone(n)] = joined([r.levels[alone(own)] for r, own in counted]).half()
            places.append(mean_place([r.places[own] for r, own in counted]))
    vectors = None
    if all(reference.class_vectors is not None for reference, _ in parts):
        of_class = [
            [r.class_vectors[shown.index(name)] for (r, shown), c in zip(parts, counts, strict=True) if c[n]]  # type: ignore[index]
            for n, name in enumerate(names)
        ]
        vectors = np.concatenate([mean_vectors([v[None] for v in own]) for own in of_class]).astype(np.float16)
    extents = [reference.extent for reference, _ in parts]
    extent = numbers([sum(axis) / len(parts) for axis in zip(*extents, strict=True)], 3)
    return Reference(levels, extent, places=tuple(places), class_vectors=vectors)


def _picked(embeddings: TaskEmbeddings, shown: Sequence[str], names: Sequence[str]) -> TaskEmbeddings:
    """Of the classes shown, those named, in that order; zeros for those that are not shown."""

    def picked(tensor: Tensor) -> Tensor:
        return torch.stack([tensor[shown.index(n)] if n in shown else torch.zeros_like(tensor[0]) for n in names])

    values = None if embeddings.values is None else picked(embeddings.values)
    return TaskEmbeddings(tuple(picked(t) for t in embeddings.tokens), embeddings.keys, values)
