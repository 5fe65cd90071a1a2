"""How the classes of a task lie to each other: where one is missed or mistaken, the others say where to look for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..imaging.box import Box

Point: TypeAlias = tuple[float, float, float]

SCALES = (0.75, 1.33)  # how much smaller or larger than the reference a patient may be
STRAY = 15.0  # mm; a class that is found farther than this from where the others have it counts little
STIFF = 200.0  # mm²; holds the scale at 1 where classes are too few or too close to tell it
EXPECTED = 0.5  # how much the others' word weighs against a class that is found with full confidence


@dataclass(frozen=True)
class Place:
    """Where a class lies in a reference, in mm along R, A, S.

    :param center: of its mass, from the center of the box around all classes.
    :param low, high: corners of its own box, from its center of mass.
    """

    center: Point
    low: Point
    high: Point

    def numbers(self) -> list[float]:
        """Nine, for a file."""
        return [*self.center, *self.low, *self.high]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Place:
        """:raises ValueError: when they are not nine."""
        if len(numbers) != 9:
            raise ValueError("a place is nine numbers")
        r, a, s, *corners = (float(v) for v in numbers)
        return cls((r, a, s), tuple(corners[:3]), tuple(corners[3:]))  # type: ignore[arg-type]


def mean_place(places: Sequence[Place]) -> Place:
    """Of one class in several references."""
    return Place.of(np.mean([p.numbers() for p in places], axis=0).tolist())


def expected_boxes(
    places: Sequence[Place], centers: Sequence[Point | None], trust: Sequence[float], margin: float
) -> list[Box]:
    """Where to look for each class, given what a first answer found of all.

    The reference's arrangement is moved and scaled to the centers found (robust least squares: one that strays counts
    little); each class is then looked for between where it was found and where the arrangement has it.

    :param places: of the classes in the reference; centers: of mass of what was found, in mm, None where nothing was.
    :param trust: in each center, 0..1.
    :param margin: how much wider than the class in the reference, at the patient's scale, its box is.
    :raises ValueError: when nothing at all was found.

    Example::

        boxes = expected_boxes(preset.places(), [(10.0, 4.0, 2.0), None], [0.8, 0.0], margin=1.4)
    """
    kept = np.array([t if c is not None else 0.0 for c, t in zip(centers, trust, strict=True)])[:, None]
    if kept.max(initial=0) <= 0:
        raise ValueError("nothing was found")
    known = np.array([p.center for p in places])
    found = np.array([(0.0, 0.0, 0.0) if c is None else c for c in centers])
    scale, arranged = _fitted(known, found, kept)
    middle = (kept * found + EXPECTED * arranged) / (kept + EXPECTED)
    size = max(1.0, scale)  # a box that is too wide costs less than one that cuts
    boxes = []
    for place, center in zip(places, middle, strict=True):
        low, high = center + size * np.array(place.low), center + size * np.array(place.high)
        more = (margin - 1) / 2 * (high - low)
        boxes.append(Box(tuple((low - more).tolist()), tuple((high + more).tolist())))
    return boxes


def _fitted(known: NDArray, found: NDArray, trust: NDArray) -> tuple[float, NDArray]:
    """Scale and centers (K, 3) of the arrangement ``known`` (K, 3), moved onto ``found`` with weights (K, 1)."""
    weights = trust
    for _ in range(6):
        of_known, of_found = ((weights * c).sum(0) / weights.sum() for c in (known, found))
        spread = (weights * (known - of_known) ** 2).sum() + STIFF
        scale = float(np.clip(((weights * (known - of_known) * (found - of_found)).sum() + STIFF) / spread, *SCALES))
        arranged = of_found + scale * (known - of_known)
        stray = np.linalg.norm(found - arranged, axis=1, keepdims=True)
        weights = trust / (1 + (stray / STRAY) ** 2)
    return scale, arranged
