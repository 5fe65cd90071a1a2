"""Dense affinity: each cell of the target looks up the reference cells that resemble it and brings their mask over.

A reference keeps one key per stride-8 cell, shared by all classes, and per class how much of each of the cell's
2x2x2 parts the mask fills. Keys of several references are simply joined. It is trained to look up by looks alone;
of anatomy that is not familiar it also goes by where the cells lie (`alignment.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .alignment import beside, placed, places_of
from .blocks import Conv, cells, looked_up, shuffle, uncells, unshuffle, upsample
from .task_encoder import Part

STRIDE = 8


class Affinity(nn.Module):
    """
    :param middle, deep: widths of the encoder's stride-8 and stride-16 features.
    :param length: numbers per key, its place not counted.
    """

    def __init__(self, middle: int, deep: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.middle = nn.Linear(middle, length)
        self.deep = Conv(deep, length, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def keys(self, middle: Tensor, deep: Tensor) -> Tensor:
        """Keys (B, N, E + 3) from stride-8 features (B, C, d, h, w) and stride-16 features: looks, of length one, and
        place."""
        key = self.middle(cells(middle)) + cells(upsample(self.deep(deep), middle.shape[2:]))
        places = places_of(middle.shape[2:]).to(key.device).expand(len(key), -1, -1)
        return torch.cat([F.normalize(key.float(), dim=-1), places], -1)

    @staticmethod
    def values(masks: Tensor) -> Tensor:
        """(B, K, D, H, W) to (B, K, N, 8): the filled share of each part of each stride-8 cell."""
        b, k = masks.shape[:2]
        parts = F.avg_pool3d(masks.float(), STRIDE // 2)
        return cells(unshuffle(parts.flatten(0, 1)[:, None], 2)).unflatten(0, (b, k))

    @classmethod
    def values_of(cls, parts: Sequence[Part]) -> Tensor:
        """The same of one reference's masks, each read where it is only: (1, K, N, 8)."""
        count = math.prod(n // STRIDE for n in parts[0].whole)
        values = parts[0].mask.new_zeros(1, len(parts), count, 8, dtype=torch.float32)
        for n, part in enumerate(parts):
            values[0, n, part.cells(STRIDE)] = cls.values(part.mask)[0, 0]
        return values

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, size: tuple[int, ...], lie: Tensor | None = None
    ) -> Tensor:
        """The reference's masks on the target's cells at stride 4: (B, K, 2d, 2h, 2w) in 0..1.

        :param queries: the target's keys (B, M, E + 3), cells of ``size`` (d, h, w); keys (B, N, E + 3); values
            (B, K, N, 8). Where a class's values are negative, the cell is none of its own: it reads the others only.
        :param lie: where the references' cells lie in the target, of `placed`, to look them up by place too; None: by
            looks alone.
        """
        looks, own = self._by_looks(queries, keys)
        if lie is not None:
            with torch.autocast(queries.device.type, enabled=False):  # distances are differences of large numbers
                carried = _carried(*beside(looks, queries[..., self.length :], own, lie), values)
        else:
            carried = _carried(looks, own, values)
        return shuffle(uncells(carried, size), 2)

    def placed(self, queries: Tensor, keys: Tensor, counts: Sequence[int]) -> Tensor:
        """Where the references' cells lie in the target (B, N, 3), in half lengths of its longest side from its middle.

        :param queries, keys: as of `forward`; counts: of how many keys each reference is.
        """
        looks, own = self._by_looks(queries, keys)
        with torch.autocast(queries.device.type, enabled=False):
            return placed(looks, queries[..., self.length :], own, keys[..., self.length :], counts)

    def agreement(
        self, found: Tensor, carried: Tensor, queries: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How well what was found and what was marked agree, both ways, as Dice of filled shares per cell, each (K,):
        the marks on the target's cells with what was found there, and what was found, brought back to the reference's
        cells, with what was marked there. What is wrongly found leads back to other places, or to none; by looks alone,
        since by place it might lead back as well.

        :param found: (K, D, H, W) in 0..1; carried: what `forward` gave by looks (1, K, D/4, H/4, W/4) for the target's
            keys ``queries`` (1, M, E + 3); keys (N, E + 3); values (K, N, 8).
        """
        shown = cells(F.avg_pool3d(found[:, None], STRIDE))[..., 0]  # (K, M)
        brought = cells(F.avg_pool3d(carried[0, :, None].float(), 2))[..., 0]
        looks, own = self._by_looks(queries, keys[None].float())
        read, marked = values[..., 0] >= 0, values.float().clamp_min(0).mean(-1)  # (K, N)
        returned = looked_up(own, looks, shown.T[None])[0].T
        return _overlap(brought, shown), _overlap(returned * read, marked)

    def _by_looks(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Their looks, the queries' as sharp as they are read."""
        return self.log_sharpness.exp() * queries[..., : self.length], keys[..., : self.length]


def _carried(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Values (B, K, N, 8) read by keys (B, N, E) that are like the queries (B, M, E): (B, M, K * 8)."""
    b, k, n, parts = values.shape
    read = values[..., :1] >= 0
    if bool(read.all()):
        return looked_up(queries, keys, values.permute(0, 2, 1, 3).reshape(b, n, k * parts))
    # A softmax over some of the cells is the softmax over all of them, divided by the share of those.
    columns = torch.cat([values.clamp_min(0), read.to(values.dtype)], -1)
    columns = columns.permute(0, 2, 1, 3).reshape(b, n, k * (parts + 1))
    sums = looked_up(queries, keys, columns).unflatten(-1, (k, parts + 1))
    return (sums[..., :-1] / sums[..., -1:].clamp_min(torch.finfo(torch.float32).tiny)).flatten(2)


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Dice of two sets of filled shares (K, N): (K,)."""
    both = torch.minimum(one, other).sum(-1)
    return 2 * both / (one.sum(-1) + other.sum(-1)).clamp_min(1e-6)
