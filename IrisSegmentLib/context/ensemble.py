"""The context ensemble: several references read as one task."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..network import TaskEmbeddings


def joined(references: Sequence[TaskEmbeddings]) -> TaskEmbeddings:
    """Tokens averaged (the paper's ensemble), affinity keys and values put side by side; float32.

    :param references: of the same K classes, at least one.
    """
    tokens = tuple(
        torch.stack([t.float() for t in scale]).mean(0)
        for scale in zip(*(r.tokens for r in references), strict=True)
    )
    keys = [r.keys for r in references if r.keys is not None]
    values = [r.values for r in references if r.values is not None]
    if not keys:
        return TaskEmbeddings(tokens)
    return TaskEmbeddings(tokens, torch.cat(keys).float(), torch.cat(values, 1).float())
