"""The paper's loss, Dice plus cross-entropy per class, on soft masks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def soft_dice(probabilities: Tensor, masks: Tensor, spare: float | Tensor = 1.0) -> Tensor:
    """Soft Dice (B, K) over the last three axes.

    :param spare: voxels that both are said to share beside what they do.
    """
    both = (probabilities * masks).sum((2, 3, 4))
    return (2 * both + spare) / (probabilities.sum((2, 3, 4)) + masks.sum((2, 3, 4)) + spare)


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean over batch and classes of cross-entropy and 1 - Dice; logits and masks (B, K, D, H, W).

    Where a view has nothing of a class, Dice is 0 for a hundred voxels as for ten thousand, and teaches nothing. There
    what was found is measured by the size that the class has in the other views: as much costs one half.
    """
    logits, size = logits.float(), masks.sum((2, 3, 4))
    usual = size.sum(0) / (size > 0).sum(0).clamp_min(1)
    dice = soft_dice(logits.sigmoid(), masks, torch.where(size > 0, 1.0, usual.clamp_min(1.0)))
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - dice.mean()


def carried_loss(carried: Tensor, masks: Tensor) -> Tensor:
    """What the affinity brought over (B, K, D/4, ...) against the masks at its own scale."""
    return 1 - soft_dice(carried.float(), F.avg_pool3d(masks, 4)).mean()


def hard_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice (B, K) of logits > 0 against masks > 0.5."""
    return soft_dice((logits > 0).float(), (masks > 0.5).float())


def schedule(progress: float, step: int, warmup: int = 200) -> float:
    """Learning rate factor: warm-up by steps, then down to a hundredth along half a cosine over the run's time."""
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return min(1.0, (step + 1) / warmup) * max(0.01, fall)


def average_in(average: nn.Module, network: nn.Module, step: int) -> None:
    """Move an averaged copy of a network's weights towards them, after its ``step``-th step: quickly at first, in the
    end by a thousandth."""
    keep = min(0.999, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)


def global_norm_clip(parameters: list[Tensor], limit: float) -> float:
    """Clip gradients to a global norm; returns the norm before."""
    return float(torch.nn.utils.clip_grad_norm_(parameters, limit))
