"""Tasks made from labels that are there: what a person might mark in place of the organ, which no name gives away.

A network that sees whole organs only comes to know the organs, and finds them wherever the reference's mask lies. Of a
task that is an organ in one episode and its upper half in the next, only the mask tells what is asked.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Derivation:
    """One way to make other classes of masks, the same for all views of an episode: joined, halved, or the rim around.

    Example::

        derivation = Derivation(np.random.default_rng(0))
        masks = [derivation.of_labels(m) for m in masks]        # (K, X, Y, Z) bool, before the views are sampled
        seen = [derivation.of_view(s) for s in seen]            # (K, D, H, W), afterwards
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._way = str(random.choice(["join", "half", "rim"]))
        self._axis, self._above = int(random.integers(3)), bool(random.random() < 0.5)
        self._cells = int(random.integers(1, 4))  # how thick a rim is

    def of_labels(self, masks: Tensor) -> Tensor:
        """Joined: one class of all. Halved: of each class the part on one side of its middle along one axis."""
        if self._way == "join":
            return masks.any(0, keepdim=True)
        return torch.stack([self._half(m) for m in masks]) if self._way == "half" else masks

    def of_view(self, seen: Tensor) -> Tensor:
        """The rim: what is around each class, without it. Its thickness is in cells, as it has to be seen by them."""
        if self._way != "rim":
            return seen
        wide = seen
        for n in range(3):  # the widest of a cube is that of its lines, one axis after the other
            reach = [self._cells if n == axis else 0 for axis in range(3)]
            wide = F.max_pool3d(wide, [2 * r + 1 for r in reach], stride=1, padding=reach)
        return wide - seen

    def _half(self, mask: Tensor) -> Tensor:
        along = mask.sum([n for n in range(3) if n != self._axis]).cumsum(0)
        middle = int(torch.searchsorted(along, along[-1] / 2)) + 1  # half of the voxels, not of the box
        half = torch.zeros_like(mask)
        part = slice(middle, None) if self._above else slice(middle)
        where = tuple(part if n == self._axis else slice(None) for n in range(3))
        half[where] = mask[where]
        return half
