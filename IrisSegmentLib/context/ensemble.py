"""The context ensemble: several references read as one task."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..network import TaskEmbeddings

UNREAD = -1.0  # the value of cells that a class does not read


def joined(
    references: Sequence[TaskEmbeddings], chosen: Sequence[Sequence[bool]] | None = None, by_place: bool = False
) -> TaskEmbeddings:
    """Tokens averaged (the paper's ensemble), affinity keys and values put side by side; float32.

    :param references: of the same K classes, at least one.
    :param chosen: per reference, for which of the classes it counts; the others neither average its tokens nor read
        its cells. Default: every reference for every class.
    :param by_place: whether their cells are looked up by place too.
    :raises ValueError: when no reference counts for a class.
    """
    if chosen is None or all(all(classes) for classes in chosen):
        counts = torch.ones(len(references), len(references[0]))
    else:
        counts = torch.tensor([list(classes) for classes in chosen], dtype=torch.float32)
        if bool((counts.sum(0) == 0).any()):
            raise ValueError("a class without a reference")
    shares = counts / counts.sum(0)
    tokens = tuple(
        torch.einsum("rk,rkmc->kmc", shares, torch.stack([t.float() for t in scale]))
        for scale in zip(*(r.tokens for r in references), strict=True)
    )
    keys = [r.keys for r in references if r.keys is not None]
    values = [
        r.values.float().where(count[:, None, None] > 0, UNREAD)
        for r, count in zip(references, counts, strict=True)
        if r.values is not None
    ]
    if not keys:
        return TaskEmbeddings(tokens)
    of_each = tuple(len(k) for k in keys) if by_place else ()
    return TaskEmbeddings(tokens, torch.cat(keys).float(), torch.cat(values, 1), of_each)
