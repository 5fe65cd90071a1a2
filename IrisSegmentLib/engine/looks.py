"""Where the engine looks and how closely: at the whole scan, closer around all classes, closer still at each alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..context.arrangement import Place, Point
from ..context.levels import alone
from ..imaging.box import Box
from ..imaging.volume import Segmentation, Volume
from ..imaging.window import Window, box_of_segments
from .inputs import Inputs

MARGIN = 1.3  # how much wider than the object the closer look is
CLOSER = 0.75  # what a closer look counts against the wider one before it
MARGIN_ALONE = 1.6  # how much wider than a class the look at it alone is
STILL = 0.1  # share of its size that a class may lie off where it was looked for without being looked for again
FELT = 0.1  # probability below which a cell says nothing of where a class is
LEAST = 0.8  # the closer look is no smaller than this share of the reference's: a timid first answer would shrink it
SURE = 4  # power of what an answer promises, in what it counts beside others: plain means lost small organs
FAINT = -2.2  # logit of 10 %: where to look closer when nothing passes 50 % in the coarse answer
NOTHING = -20.0  # logit of a class that is left empty

Seen: TypeAlias = tuple[Window, Tensor]  # by a look: its window, and the logits (K, D, H, W) of its classes


def closer_windows(
    inputs: Inputs, image: Volume, segmentation: Segmentation
) -> tuple[dict[str, tuple[Window, Segmentation]], tuple[Place, ...]]:
    """The looks at a reference beside the whole scan, by level, each with the segments that it shows; and where
    the segments lie."""
    box = box_of_segments(segmentation, 1.0)
    assert box is not None, "an empty reference was let in"
    one = len(segmentation.segments) == 1
    windows = {"fine": (closer_window(inputs, image, box, one), segmentation)}
    places = []
    for n in range(0 if one or not inputs.alone else len(segmentation.segments)):
        shown = segmentation.only([n])
        own = box_of_segments(shown, 1.0)
        assert own is not None, "an empty segment was let in"
        window = inputs.over_one(image, own.widened(MARGIN_ALONE))
        center = window.center_of(window.sample_masks(shown)[0]) or own.center
        places.append(_place(center, own, box))
        windows[alone(n)] = (window, shown)
    return windows, tuple(places)


def closer_window(
    inputs: Inputs, image: Volume, box: Box, one: bool, least: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Window:
    """The closer look at a box of all classes, no smaller than ``least`` in mm; where there is but one, as the look
    at a class alone is."""
    if one and inputs.alone:
        return inputs.over_one(image, box.widened(MARGIN_ALONE).at_least(least))
    return inputs.over(image, box.widened(MARGIN).at_least(least))


def found_at(window: Window, logits: Tensor) -> tuple[Point | None, float]:
    """Where an answer (1, D, H, W) has its class, in mm, and how sure it is; None where nothing is felt of it."""
    felt = logits[0].sigmoid()
    return window.center_of(felt * (felt > FELT)), confidence(logits)[0]


def without(looks: Sequence[Seen], empty: Sequence[bool]) -> list[Seen]:
    """The looks with nothing of some of the classes."""
    kept, first = [], 0
    for window, logits in looks:
        left = torch.tensor(empty[first : first + len(logits)])
        kept.append((window, logits.masked_fill(left[:, None, None, None], NOTHING)))
        first += len(logits)
    return kept


def blended(wider: Tensor, closer: Tensor) -> Tensor:
    """Both looks count: the first saw where, the second what exactly."""
    return (1 - CLOSER) * wider + CLOSER * closer


def weighed(answers: Sequence[Tensor]) -> Tensor:
    """The mean of several answers (K, D, H, W) at the same cells, each class by what its answers promise: what does not
    see it is hardly heard."""
    weights = torch.tensor([confidence(answer) for answer in answers]) ** SURE + 1e-3  # where none sees it, all count
    return torch.einsum("rk,rkdhw->kdhw", weights / weights.sum(0), torch.stack(list(answers)))


def _place(center: tuple[float, float, float], own: Box, all_classes: Box) -> Place:
    def since(point: tuple[float, float, float], start: tuple[float, float, float]) -> tuple[float, float, float]:
        # As a pool keeps them, so that what was saved looks where what was not does, to the last bit.
        return tuple(float(np.float32(p - s)) for p, s in zip(point, start, strict=True))  # type: ignore[return-value]

    return Place(since(center, all_classes.center), since(own.low, center), since(own.high, center))


def confidence(logits: Tensor) -> tuple[float, ...]:
    """Per class of (K, D, H, W): the Dice of the soft answer with its own hard one; 0 when nothing was found."""
    soft = logits.sigmoid().flatten(1)
    hard = (soft > 0.5).float()
    both = 2 * (soft * hard).sum(1) / (soft.sum(1) + hard.sum(1)).clamp_min(1e-6)
    return tuple(float(c) if h > 0 else 0.0 for c, h in zip(both, hard.sum(1), strict=True))
