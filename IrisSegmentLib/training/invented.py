"""Anatomies that no one has: bodies of tissues and organs, each made for one episode, and patients who differ in it.

Labelled sets teach what hearts and heads are like. Of an invented anatomy nothing can be known beforehand: only the
reference says what is asked, and where among the others an organ lies, and how bright, is what patients have in common,
as it is in life. Tissues are noise label maps (SynthMorph, Hoffmann et al., 2022); patients of one anatomy stand in for
the cohorts that labelled sets are (anatomix, Dey et al., 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..network.blocks import raising
from .cases import Case
from .mixture import INVENTED
from .views import rotation

SIDES = (56, 88)  # voxels of a scan along each axis, least and most
TISSUES, ORGANS = (3, 10), (3, 12)  # fewest and most in a body
KNOTS = (3, 7)  # of the fields that tissues are made of, along each axis: few make wide tissues
RADIUS = (0.05, 0.22)  # of an organ, as a share of the scan
WALL = 0.4  # share of the organs that have a wall and a hollow, which are two classes
BODY = 0.5  # share of the anatomies with air around
LEAST, MOST = 100, 0.3  # voxels of a class, and share of the scan
# How patients differ: in their tissues, in where organs lie (share of the scan), how large they are and what surface
# they have, and in a warp of everything (share of the scan).
OTHER_TISSUE, OTHER_PLACE, OTHER_SIZE, OTHER_SURFACE, WARP = 0.2, 0.015, 0.1, 0.15, 0.025


@dataclass(frozen=True)
class Organ:
    """A bent ellipsoid.

    :param center, radius: (3,), as a share of the scan; turn: (3, 3).
    :param surface: knots (4, 4, 4) of how far it is bent in and out.
    :param hollow: how far from the center its wall begins, as a share of the radius; 0 without a wall.
    """

    center: np.ndarray
    radius: np.ndarray
    turn: np.ndarray
    surface: np.ndarray
    hollow: float

    @classmethod
    def draw(cls, random: np.random.Generator) -> Organ:
        radius = np.exp(random.uniform(*np.log(RADIUS))) * random.uniform(0.6, 1.6, 3)
        hollow = float(random.uniform(0.5, 0.85)) if random.random() < WALL else 0.0
        turn = rotation(random.uniform(-np.pi, np.pi, 3))
        return cls(random.uniform(0.15, 0.85, 3), radius, turn, random.normal(0, 0.25, (4, 4, 4)), hollow)

    def of_patient(self, random: np.random.Generator) -> Organ:
        """The same in somebody else."""
        return Organ(
            self.center + random.normal(0, OTHER_PLACE, 3),
            self.radius * np.exp(random.normal(0, OTHER_SIZE, 3)),
            self.turn @ rotation(random.normal(0, 0.1, 3)),
            self.surface + random.normal(0, OTHER_SURFACE, self.surface.shape),
            self.hollow,
        )

    def paste(self, labels: Tensor, label: int) -> None:
        """Into labels (X, Y, Z): ``label``, and the next where it is hollow."""
        size = np.array(labels.shape)
        center, radius = self.center * size, self.radius * size.mean()
        reach = 1.5 * radius.max()
        begin = np.clip(np.floor(center - reach), 0, size - 1).astype(int)
        end = np.clip(np.ceil(center + reach) + 1, begin + 1, size).astype(int)
        where = [slice(int(b), int(e)) for b, e in zip(begin, end, strict=True)]
        x, y, z = (torch.arange(w.start, w.stop) - float(c) for w, c in zip(where, center, strict=True))
        far = torch.zeros([w.stop - w.start for w in where])
        for (along_x, along_y, along_z), r in zip(self.turn.T.tolist(), radius.tolist(), strict=True):
            far += ((along_x * x[:, None, None] + along_y * y[:, None] + along_z * z) / r).square()
        far = far.sqrt() + _raised(self.surface[None], far.shape)[0]
        part = labels[where[0], where[1], where[2]]
        part[far < 1] = label
        if self.hollow:
            part[far < self.hollow] = label + 1


class Anatomy:
    """
    Example::

        anatomy = Anatomy(np.random.default_rng(0))
        cases = [anatomy.patient(), anatomy.patient()]
        classes = anatomy.shown(cases)              # labels that can be asked for
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._size = random.integers(SIDES[0], SIDES[1] + 1, 3)
        knots = random.integers(KNOTS[0], KNOTS[1] + 1)
        self._tissues = random.normal(0, 1, (int(random.integers(TISSUES[0], TISSUES[1] + 1)), knots, knots, knots))
        self._organs = [Organ.draw(random) for _ in range(random.integers(ORGANS[0], ORGANS[1] + 1))]
        body = Organ(np.full(3, 0.5), random.uniform(0.4, 0.55, 3), np.eye(3), random.normal(0, 0.15, (4, 4, 4)), 0.0)
        self._body = body if random.random() < BODY else None

    def patient(self) -> Case:
        """Labels without an image: 0 is air."""
        random = self._random
        tissues = self._tissues + random.normal(0, OTHER_TISSUE, self._tissues.shape)
        labels = _highest(_raised(tissues, self._size.tolist())) + 1
        label = len(tissues) + 1
        for organ in self._organs:
            organ.of_patient(random).paste(labels, label)
            label += 2
        if self._body is not None:
            inside = torch.zeros_like(labels)
            self._body.of_patient(random).paste(inside, 1)
            labels *= inside
        return Case(INVENTED, None, self._warped(labels).short(), np.ones(3), 0.0, {})

    def shown(self, cases: list[Case]) -> list[int]:
        """The labels that can be asked for: all patients have enough of them, and they leave enough of the scan."""
        counts = torch.stack([torch.bincount(c.labels.flatten(), minlength=64) for c in cases])
        most = MOST * torch.tensor([[c.labels.numel()] for c in cases])
        fit = ((counts >= LEAST) & (counts < most)).all(0)
        return [int(k) for k in torch.nonzero(fit).flatten() if k > 0]

    def _warped(self, labels: Tensor) -> Tensor:
        """Each voxel from another place; beyond the sides it is as at them."""
        moved = _raised(self._random.normal(0, WARP, (3, 5, 5, 5)), labels.shape)
        place = torch.zeros(labels.shape, dtype=torch.int32)
        for n, size in enumerate(labels.shape):
            along = torch.arange(size).reshape([size if k == n else 1 for k in range(3)])
            place = place * size + (moved[n] * size + along).round_().clamp_(0, size - 1).int()
        return labels.flatten()[place]


def _highest(fields: Tensor) -> Tensor:
    """Which of the fields (C, X, Y, Z) is highest; torch's own argmax along the first axis is ten times as slow."""
    most, which = fields[0].clone(), torch.zeros(fields.shape[1:], dtype=torch.uint8)
    for n, field in enumerate(fields[1:], 1):
        which.masked_fill_(field > most, n)
        torch.maximum(most, field, out=most)
    return which


def _raised(knots: np.ndarray, size: Sequence[int]) -> Tensor:
    """Fields through knots (C, a, b, c), trilinear: (C, X, Y, Z), by matrix products: from so few knots they take a
    twentieth of the time that `upsample` takes."""
    fields = torch.from_numpy(knots.astype(np.float32))
    by_x, by_y, by_z = (raising(few, many, True) for few, many in zip(fields.shape[1:], size, strict=True))
    fields = by_y @ (fields @ by_z.T)  # (C, a, Y, Z)
    return (by_x @ fields.flatten(2)).unflatten(2, fields.shape[2:])
