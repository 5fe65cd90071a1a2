"""A map of classes: what each looks like to the network, as places in a plane (after the paper's Figure 5).

Of the vectors that retrieval goes by, and not of the tokens: those of the bundled network are nearly all alike (of the
12 classes in the bundled samples, 3 had one of their own kind as the nearest by tokens, 12 by these vectors; four kinds
of vector were tried). Principal components and not t-SNE: they need nothing but numpy, and the same presets give the
same map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .preset import Preset


@dataclass(frozen=True)
class Place:
    """One class of one reference.

    :param number: of the preset among those that the map is of; reference: its number, from 0.
    :param at: (x, y), no unit.
    :param nearest: number of the most similar other place, and how similar (cosine); None where there is no other.
    """

    number: int
    reference: int
    segment: str
    color: tuple[float, float, float]
    at: tuple[float, float]
    nearest: tuple[int, float] | None


def atlas(presets: Sequence[Preset]) -> list[Place]:
    """The classes of the references that are switched on, in the presets' order. References that are not described,
    since they were encoded long ago, have no place.

    :param presets: of one network.
    """
    found = [
        (number, n, segment, vector)
        for number, preset in enumerate(presets)
        for n, reference in enumerate(preset.references)
        if reference.enabled and reference.class_vectors is not None
        for segment, vector in zip(preset.segments, reference.class_vectors.astype(np.float32), strict=True)
    ]
    if not found:
        return []
    vectors = np.stack([vector for *_, vector in found])
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return [
        Place(
            number, n, segment.name, segment.color, (float(x), float(y)),
            (int(near.argmax()), float(near.max())) if len(found) > 1 else None,
        )
        for (number, n, segment, _), (x, y), near in zip(found, plane(vectors), similarity, strict=True)
    ]  # fmt: skip


def plane(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, E) to places (N, 2) along the two directions in which they differ most; of a fixed sign."""
    centered = vectors - vectors.mean(0)
    values, axes = np.linalg.eigh(centered @ centered.T)  # N is far smaller than E
    places = np.zeros((len(vectors), 2), np.float32)
    for column, n in enumerate(np.argsort(-values)[:2]):
        place = axes[:, n] * np.sqrt(max(values[n], 0.0))
        places[:, column] = place * (1 if place[np.abs(place).argmax()] >= 0 else -1)
    return places
