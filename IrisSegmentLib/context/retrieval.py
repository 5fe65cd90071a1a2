"""Which references resemble a target: one vector per class or per scan, compared by cosine similarity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import IrisError
from ..network.task_encoder import pooled_foreground

EXACT = 50_000  # vectors that are compared one by one, in some 20 ms; more go into a graph
SHORTLIST = 1024  # candidates of the graph that are compared exactly


def class_vectors(features: Sequence[Tensor], masks: Tensor, align_corners: bool) -> NDArray[np.float16]:
    """One vector of length one per class, (K, D): the foreground tokens (Eq. 2) of all scales, each of the same length.

    They are taken as pooled, before the task encoder mixes them with the others: mixed, those of one class were found
    to be all alike in a network that leans on affinity.

    :param features: of the encoder, one per scale, each (1, C, d, h, w); masks: (K, D, H, W) in 0..1.
    """
    return _joined([pooled_foreground(scale.float(), masks[None], align_corners)[0] for scale in features])


def scan_vector(features: Sequence[Tensor]) -> NDArray[np.float16]:
    """One vector of length one for a whole scan, (D,): the mean features (1, C, d, h, w) of the scales, each of the
    same length."""
    return _joined([scale.float().mean((2, 3, 4)) for scale in features])[0]


def _joined(scales: Sequence[Tensor]) -> NDArray[np.float16]:
    vectors = torch.cat([F.normalize(scale, dim=-1) for scale in scales], -1) / len(scales) ** 0.5
    return vectors.cpu().numpy().astype(np.float16)


class Index:
    """The nearest of many vectors.

    :param vectors: (M, D) of length one, float16.

    Up to `EXACT` vectors, and without the library usearch (the extra ``pools``) any number, are compared one by one.
    More go into usearch's HNSW graph, built at the first question (about a minute per 100,000 on a busy machine). It
    answers in milliseconds and misses some: of the ten nearest it finds nine among 365,000, seven or eight among a
    million. It is never read from a file, since such a file could come from a stranger. usearch and not faiss: the
    OpenMP that faiss brings along ends the process beside torch's on macOS.
    """

    def __init__(self, vectors: NDArray[np.float16]) -> None:
        self._vectors = vectors
        self._graph = None
        if len(vectors) > EXACT:
            try:
                from usearch.index import Index as Graph
            except ImportError:
                return
            self._graph = Graph(
                ndim=vectors.shape[1], metric="cos", dtype="i8",
                connectivity=12, expansion_add=40, expansion_search=SHORTLIST,
            )  # fmt: skip
            self._graph.add(np.arange(len(vectors)), vectors)

    def nearest(self, query: NDArray[np.float16], count: int) -> list[int]:
        """Places of the ``count`` vectors most similar to a query (D,), most similar first."""
        candidates, vectors = np.arange(len(self._vectors)), self._vectors
        if self._graph is not None:
            candidates = self._graph.search(query, max(count, SHORTLIST)).keys.astype(np.int64)
            vectors = vectors[candidates]
        parts = np.array_split(vectors, len(vectors) // EXACT + 1)  # as float32 they are twice as large
        similarity = np.concatenate([part.astype(np.float32) @ query.astype(np.float32) for part in parts])
        return [int(c) for c in candidates[np.argsort(-similarity, kind="stable")[:count]]]


def check_count(count: int, available: int, name: str) -> None:
    """
    :raises IrisError: when a class has fewer references than were asked for.
    """
    if not 1 <= count <= available:
        raise IrisError(
            f"{count} references were asked for, but the pool has {available} for '{name}'; ask for 1 to {available}."
        )
