"""Episodes: a few views of one task, each of which serves as a target and as another's reference.

Every view is encoded once; its mask teaches the view before it and is what the view itself must find.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import IrisError
from .augmentation import vary
from .cases import Case
from .derived import Derivation
from .invented import Anatomy
from .mixture import INVENTED, MADE, SELF, Mixture
from .regions import TOLD, alike
from .synthetic import Painter, grown_mask
from .task_augmentation import TaskAugmentation
from .views import Placement, grid_shape, placed, positions, resampled, resampled_labels, within

MOST_CLASSES = 7
TOGETHER = 3  # every so many turns a view is given the tasks of two others at once, as by a preset of two references
# Where nothing of a set's task is, labelled or not.
ELSEWHERE = {
    "hippocampus": ("cardiac_mr", "left_atrium", "sarcoma_mr"),
    "cardiac_mr": ("hippocampus", "head_neck_ct", "sarcoma_mr"),
    "left_atrium": ("hippocampus", "head_neck_ct", "sarcoma_mr"),
    "head_neck_ct": ("cardiac_mr", "left_atrium", "sarcoma_mr"),
    "sarcoma_ct": ("hippocampus", "cardiac_mr", "left_atrium"),
    "sarcoma_mr": ("hippocampus", "cardiac_mr", "left_atrium"),
    "sarcoma_pet": ("hippocampus", "cardiac_mr", "left_atrium"),
}
COARSE = 0.35  # share of episodes that look at whole scans
ALONE = 0.5  # share of the others that show one class only, as the last look does
ROUGH = {48: 32, 64: 48, 96: 64}  # cells of a look, and of a rough one, which costs a third as much


@dataclass(frozen=True)
class Look:
    """How an episode sees its scans: all of them (coarse), around its classes, or around one class alone; and by how
    many cells. As the engine looks: at whole scans and at one class alone more finely."""

    coarse: bool
    alone: bool
    cells: int

    def views(self, most: int) -> int:
        """Of an episode: one less in the finest looks, which take the time and memory of several others."""
        return most if self.cells <= 64 else most - 1

    @classmethod
    def draw(cls, random: np.random.Generator, rough: bool = False) -> Look:
        """:param rough: by fewer cells, as `ROUGH` says."""
        coarse = bool(random.random() < COARSE)
        alone = not coarse and bool(random.random() < ALONE)
        cells = (64, 96) if coarse else (64, 96, 96) if alone else (48, 64, 64)
        drawn = int(random.choice(cells))
        return cls(coarse, alone, ROUGH[drawn] if rough else drawn)


@dataclass(frozen=True)
class Episode:
    """
    :param images: (B, 1, D, H, W); masks: (B, K, D, H, W) in 0..1.
    :param empty: the last view shows nothing of the task, and so teaches it to none.
    """

    images: Tensor
    masks: Tensor
    source: str
    empty: bool = False

    def teachers(self, turn: int) -> Tensor:
        """For each view, whose tasks it is given (B, R): another's, or two others', and others from turn to turn."""
        able = len(self.images) - self.empty
        count = 2 if able > 2 and turn % TOGETHER == TOGETHER - 1 else 1
        # A view of the task is given none of its own; the one that shows nothing may be given any.
        given = [[(n - 1 - (turn + r) % (able - 1)) % able for r in range(count)] for n in range(able)]
        return torch.tensor([*given, [(turn + r) % able for r in range(count)]] if self.empty else given)


class Episodes:
    """Numbered episodes: one number always gives the same one, so that a run can stop and go on exactly.

    :param cases: by set, the training split.
    :param views: views per episode.
    :raises IrisError: when nothing is left to ask.
    """

    def __init__(
        self, cases: dict[str, list[Case]], seed: int, views: int = 4, mixture: Mixture | None = None
    ) -> None:
        self._cases = cases
        self._views = views
        self._seed = seed
        self._mixture = mixture or Mixture()
        parts = self._mixture.sources
        self._sources = [s for s in parts if s in cases or s in MADE]
        if not self._sources:
            raise IrisError("No task is left to train on; leave out fewer kinds, or name more sets.")
        weights = np.array([parts[s] for s in self._sources])
        self._weights = weights / weights.sum()

    def draw(self, number: int, turn: int | None = None, rough: bool = False) -> Episode:
        """The episode of a number.

        :param turn: decides the look, by default ``number``. Processes that wait for each other at every step give the
            step, so that none has more work than the others.
        :param rough: whether the look is, as `Look.draw` says.
        """
        look = Look.draw(np.random.default_rng((self._seed, number if turn is None else turn, 1)), rough)
        random = np.random.default_rng((self._seed, number))
        while True:
            source = str(random.choice(self._sources, p=self._weights))
            if source == SELF:
                episode = self._grown(look, random)
            elif source == INVENTED:
                episode = self._invented(look, random)
            else:
                episode = self._real(source, look, random)
            if episode is not None:
                return episode

    def _real(self, source: str, look: Look, random: np.random.Generator) -> Episode | None:
        """Views of different patients of one set, for a few of its classes."""
        cases = self._cases[source]
        first = cases[random.integers(len(cases))]
        present = sorted(first.boxes)
        if not present:
            return None
        classes = _some(present, look, random)
        fitting = [c for c in cases if all(k in c.boxes for k in classes)]
        chosen = [fitting[i] for i in random.permutation(len(fitting))[: look.views(self._views)]]
        if len(chosen) < 2:
            return None
        derivation, drawn = None, random.random()
        if source in TOLD and drawn < self._mixture.regions:
            masks = [torch.stack(m) for m in zip(*alike(chosen, len(classes), random, 8 * len(classes)), strict=True)]
            if not masks:
                return None
        else:
            masks = [torch.stack([c.labels == k for k in classes]) for c in chosen]
            if drawn > 1 - self._mixture.derived:
                derivation = Derivation(random)
                masks = [derivation.of_labels(m) for m in masks]
                if not all(m.flatten(1).any(1).all() for m in masks):
                    return None
        others = [s for s in ELSEWHERE.get(source, ()) if s in self._cases]
        share = self._mixture.empty_whole if look.coarse else self._mixture.empty
        if others and len(chosen) > 2 and random.random() < share:
            cases = self._cases[others[random.integers(len(others))]]
            elsewhere = cases[random.integers(len(cases))]
            return self._views_of(chosen, masks, source, look, random, derivation, elsewhere)
        return self._views_of(chosen, masks, source, look, random, derivation)

    def _grown(self, look: Look, random: np.random.Generator) -> Episode | None:
        """Views of one scan with a mask that was grown in it: a task without anyone's labels."""
        scanned = [s for s in self._sources if s in self._cases and self._cases[s][0].image is not None]
        cases = self._cases[scanned[random.integers(len(scanned))]]
        case = cases[random.integers(len(cases))]
        mask = grown_mask(case.image, random)  # type: ignore[arg-type]
        if mask is None:
            return None
        views = look.views(self._views)
        return self._views_of([case] * views, [mask[None]] * views, SELF, look, random)

    def _invented(self, look: Look, random: np.random.Generator) -> Episode | None:
        """Views of different patients of an anatomy that is never seen again, or, last, of another such anatomy."""
        anatomy = Anatomy(random)
        cases = [anatomy.patient() for _ in range(look.views(self._views))]
        present = anatomy.shown(cases)
        if not present:
            return None
        classes = _some(present, look, random)
        masks = [torch.stack([c.labels == k for k in classes]) for c in cases]
        empty = random.random() < self._mixture.empty
        elsewhere = Anatomy(random).patient() if empty else None
        return self._views_of(cases, masks, INVENTED, look, random, elsewhere=elsewhere)

    def _views_of(
        self, cases: list[Case], masks: list[Tensor], source: str, look: Look, random: np.random.Generator,
        derivation: Derivation | None = None, elsewhere: Case | None = None,
    ) -> Episode | None:
        placements = [placed(c, None if look.coarse else bounds(m), random) for c, m in zip(cases, masks, strict=True)]
        empty = False
        if elsewhere is not None:  # the last view's case, where nothing is of what was looked for, or another scan
            away = None if look.coarse or random.random() < 0.5 else _away(cases[-1], masks[-1], placements[-1], random)
            if away is None:
                nothing = torch.zeros((len(masks[0]), *elsewhere.labels.shape), dtype=torch.bool)
                away = self._anywhere(elsewhere, look.coarse, placements[-1].extent, random)
                cases, masks = [*cases[:-1], elsewhere], [*masks[:-1], nothing]
            placements[-1], empty = away, True
        shape, steps = grid_shape([p.extent for p in placements], look.cells)
        painter = Painter(random)
        images, inside, filled = [], [], []
        for case, mask, placement, step in zip(cases, masks, placements, steps, strict=True):
            where = positions(placement, step, shape, case.spacing, random)
            inside.append(within(where, case.labels.shape))
            image, mask = resampled(case, mask, where, step)
            filled.append(mask if derivation is None else derivation.of_view(mask))
            images.append(painter.paint(resampled_labels(case.labels, where)) if image is None else image)
        change = TaskAugmentation(random, self._mixture.contrast, self._mixture.pose)
        images = [vary(image, random) for image in change.of_grays(images, inside)]
        both = change.of_pose(torch.stack(images)), change.of_pose(torch.stack(filled))
        teaching = both[1][: len(both[1]) - empty]
        shown = teaching.sum((2, 3, 4)).amin(0) > 2  # a class that a view cannot see cannot be learned from it
        return Episode(both[0], both[1][:, shown], source, empty) if bool(shown.any()) else None

    def _anywhere(self, case: Case, coarse: bool, extent: np.ndarray, random: np.random.Generator) -> Placement:
        """A view of a case, of whose classes nothing is asked."""
        size = np.array(case.labels.shape) * case.spacing
        if coarse:
            return Placement((size - case.spacing) / 2, size * random.uniform(0.8, 1.1))
        return Placement(random.uniform(0.2, 0.8, 3) * size, np.minimum(extent, size.max()))


def _some(present: list[int], look: Look, random: np.random.Generator) -> list[int]:
    """Of the classes that all views show, those that an episode asks for."""
    count = 1 if look.alone else int(random.integers(1, min(len(present), MOST_CLASSES) + 1))
    return [int(c) for c in random.permutation(present)[:count]]


def _away(case: Case, masks: Tensor, placement: Placement, random: np.random.Generator) -> Placement | None:
    """A view as large as another, of the same case, in which there is nothing of its masks; None when none is found."""
    size = np.array(case.labels.shape) * case.spacing
    low, high = (b * case.spacing for b in bounds(masks))
    for _ in range(8):
        center = random.uniform(0, 1, 3) * size
        half = 0.75 * placement.extent.max()  # a view is turned, bent, and as wide as the widest of its episode
        if np.any(center + half < low) or np.any(center - half > high):
            return Placement(center, placement.extent)
    return None


def bounds(masks: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The box around all masks (K, X, Y, Z), in voxels."""
    any_class = masks.any(0)
    side = any_class.any(0)
    found = [torch.nonzero(along).flatten() for along in (any_class.flatten(1).any(1), side.any(1), side.any(0))]
    return np.array([int(f[0]) for f in found]), np.array([int(f[-1]) + 1 for f in found])
