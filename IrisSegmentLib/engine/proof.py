"""A graphics card is asked once what the processor is asked, before it is trusted with scans: a driver, a library or
this program may be wrong on it, and nothing would fail."""

from __future__ import annotations

import logging
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import IrisError
from ..network import load_network
from .device import choose_device
from .sight import Sight

NOT_TRUSTED = (
    "The graphics card answers otherwise than the processor, so the processor computes, which takes longer; please "
    "report it."
)
SIDE = 32  # cells of the made scan
# By how much a card's answer may differ: of the steps from cell to cell in the processor's, this share, and of the
# logits themselves what bfloat16 rounds. In bfloat16 instead of float32 steps differ by 0.02 to 0.15 (five networks);
# with the answers of two cells side by side exchanged or doubled by 0.65 and more, when the Dice of both is still 0.95.
UNLIKE, ROUNDED = 0.3, 2**-7


def proven_sight(network: str | Path | None, device: str) -> tuple[Sight, bool]:
    """A network where it runs, and whether that is the processor because a card answered otherwise.

    :param network: a file, or None for the bundled one; device: ``auto``, ``cpu`` or ``cuda``.
    :raises IrisError: for a file that is no network, and for a device asked for by name that does not work.
    """
    where, processor, loaded = choose_device(device), torch.device("cpu"), load_network(network)
    if where == processor:
        return Sight.of(loaded, processor), False
    # A copy, made before either is rounded: a large network takes seconds to read.
    card, sight = Sight.of(deepcopy(loaded).to(where), where), Sight.of(loaded, processor)
    if answers_alike(card, sight):
        return card, False
    if device != "auto":
        raise IrisError(
            f"The device '{device}' cannot be used (it answers otherwise than the processor); choose 'auto' or 'cpu'."
        )
    logging.getLogger(__name__).warning(NOT_TRUSTED)
    return sight, True


def answers_alike(card: Sight, processor: Sight) -> bool:
    """Whether two devices draw the same of a made scan, cell by cell."""
    ours, theirs = _answer(card), _answer(processor)
    steps, rounded = [(ours.diff(dim=n), theirs.diff(dim=n)) for n in (1, 2, 3)], ROUNDED * theirs.norm()
    return all(bool((a - b).norm() < UNLIKE * b.norm() + rounded) for a, b in steps)


def _answer(sight: Sight) -> Tensor:
    """Logits (2, D, H, W) of two balls in a scan mirrored, which was learned as it is."""
    axis = torch.linspace(-1, 1, SIDE)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    balls = torch.stack([x**2 + y**2 + z**2 < 0.3, (x - 0.3) ** 2 + (y + 0.2) ** 2 + z**2 < 0.08]).float()
    noise = torch.randn(1, 1, 9, 9, 9, generator=torch.Generator().manual_seed(0))
    tissue = F.interpolate(noise, (SIDE,) * 3, mode="trilinear", align_corners=True)
    scan, masks = (t.to(sight.device) for t in (0.3 * tissue + balls[0] + 0.8 * balls[1], balls))
    with torch.inference_mode(), sight.precision.autocast():
        embeddings = sight.network.encode(scan, masks)
        return sight.network.segment(scan.flip(4).contiguous(), embeddings).float().cpu()
