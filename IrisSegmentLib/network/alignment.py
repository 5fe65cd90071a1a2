"""Where a reference's cells lie in the target: what registration goes by, from features in place of grays.

Cells that look alike give an affine between the two scans, found anew a few times while what may look alike is kept
ever nearer to it. A target's cell then reads the reference's cells by how alike they look, less the squared distance
from where the affine puts them: left and right, which look the same, are told apart. Nothing of it is learned:
anatomy that the network never saw gains by it, what it knows does not (Resources/Network/MODEL_CARD.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import looked_up

NEAR = 0.2  # standard deviation of where a cell lies, in half lengths of a look's longest side
FIRST, TURNS = 0.9, 4  # the same in the first of so many turns
STILL = 0.02  # share of the cells' weight that speaks for no change at all
SPREAD = 0.03  # square of how far what looks like a cell may spread before the cell hardly counts
ENOUGH = 256  # of a reference's cells, for an affine


def places_of(size: Sequence[int]) -> Tensor:
    """Places of the cells of a grid (d, h, w), (1, N, 3): from its middle, in half lengths of its longest side."""
    axes = [(torch.arange(n) - (n - 1) / 2) * 2 / max(size) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)[None]


def placed(looks: Tensor, there: Tensor, keys: Tensor, here: Tensor, counts: Sequence[int]) -> Tensor:
    """Where the references' cells lie in the target (B, N, 3).

    :param looks: the target's keys (B, M, E), times their sharpness; there: their places (B, M, 3).
    :param keys: of the references (B, N, E), put side by side; here: their places (B, N, 3).
    :param counts: of how many keys each reference is.
    """
    with torch.no_grad():
        pairs = zip(*(t.split(list(counts), 1) for t in (keys, here)), strict=True)
        return torch.cat([_placed(looks, there, own, places) for own, places in pairs], 1)


def beside(looks: Tensor, there: Tensor, keys: Tensor, lie: Tensor) -> tuple[Tensor, Tensor]:
    """Queries (B, M, E + 4) and keys (B, N, E + 4) whose products are the likeness less the squared distance, up to a
    number that is the same for all keys.

    :param looks, there, keys: as of `placed`, which gave ``lie`` (B, N, 3).
    """
    return _near(looks, there, NEAR), _at(keys, lie)


def _placed(looks: Tensor, there: Tensor, keys: Tensor, here: Tensor) -> Tensor:
    """Where a reference's cells lie in the target (B, N, 3)."""
    some = slice(None, None, (keys.shape[1] // ENOUGH) | 1)  # an odd step meets every row elsewhere
    rows = F.pad(here, (0, 1), value=1.0)
    few, own, known = rows[:, some], keys[:, some], _at(looks, there)
    still = torch.eye(4, 3, device=rows.device).expand(len(rows), -1, -1)
    affine, unit = still, torch.eye(4, device=rows.device)
    for turn in range(TURNS):
        near = FIRST * (NEAR / FIRST) ** (turn / (TURNS - 1))
        expected = few @ affine
        found = looked_up(_near(own, expected, near), known, known[..., -4:])
        place = found[..., :3]
        spread = (found[..., 3] - place.square().sum(-1)).clamp_min(0)
        off = (place - expected).square().sum(-1) / near**2
        weights = 1 / (SPREAD + spread) / (1 + off)
        weighed = (weights[..., None] * few).mT
        held = STILL * weights.sum(-1)[:, None, None] * unit
        affine = torch.linalg.solve(weighed @ few + held, weighed @ place + held @ still)
    return rows @ affine


def _near(looks: Tensor, places: Tensor, near: float) -> Tensor:
    """What is asked: -|p - q|^2 / 2 near^2 is p . q / near^2 - |q|^2 / 2 near^2, up to what is the same for all q."""
    return torch.cat([looks, places / near**2, torch.full_like(places[..., :1], -0.5 / near**2)], -1)


def _at(looks: Tensor, places: Tensor) -> Tensor:
    """What is told: looks, place, and the square of its distance from the middle."""
    return torch.cat([looks, places, places.square().sum(-1, keepdim=True)], -1)
