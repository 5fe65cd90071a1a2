"""Where to look closer, and at each class alone: where the network's answers have it or, for several organs that it
hardly finds even in the scan that they were marked in, where the alignment of what looks alike has them
(`network/alignment.py`), since there its answers to the whole scan are the worse guide.

Of head and neck, which two networks had not been shown, the answers lay 63 and 50 mm from the truth on the mean, and
the alignment 27 and 26 mm. What the network knows it finds better itself, and where one thing alone lies may hang on
nothing else: a tumor lies elsewhere in each patient. Tried on the test cases, going by the alignment took 7 points of
Dice from tumors in PET, so they are left alone (Resources/Network/MODEL_CARD.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from torch import Tensor

from ..context.arrangement import Place, Point, expected_boxes
from ..context.caution import HARDLY
from ..context.preset import Preset
from ..imaging.box import Box
from ..imaging.window import Window
from .looks import FAINT, MARGIN_ALONE, Seen, found_at

Said: TypeAlias = tuple[Point, float]  # where in mm, and how much that counts


class Whereabouts(Protocol):
    """
    Example::

        whereabouts = whereabouts_of(preset, aligned=bool(centers))
        box = whereabouts.around_all(whole, logits, centers)            # the closer look
        whereabouts.heard("fine", closer, closer_logits, closer_centers)
        boxes = whereabouts.around_each()                               # of a look at each class alone
    """

    def around_all(self, whole: Window, logits: Tensor, centers: Sequence[Point]) -> Box | None:
        """Around all classes, after a look at the whole scan; None where nothing was found at all.

        :param logits: its answer (K, D, H, W).
        :param centers: where the alignment has the classes, in mm; none where it was not asked for.
        """

    def heard(self, look: str, window: Window, logits: Tensor, centers: Sequence[Point], first: int = 0) -> None:
        """What a closer look says of the classes that it shows, in place of what the same look said before.

        :param logits, centers: as of `around_all`; first: number of the first of the classes.
        """

    def around_each(self) -> list[Box]:
        """A box for each class; none at all when nothing is felt of any."""


def whereabouts_of(preset: Preset, aligned: bool) -> Whereabouts:
    """:param aligned: whether there is an alignment at all."""
    known = [found for found in preset.found_again() if found is not None]
    hardly = bool(known) and float(np.mean(known)) < HARDLY
    return FromAlignment(preset.places()) if aligned and hardly and preset.places() else FromAnswers(preset.places())


class FromAnswers:
    """The last answer of each class, and how the classes lie to each other.

    :param places: of the classes in the reference; none where there is but one.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._seen: dict[int, Seen] = {}

    def around_all(self, whole: Window, logits: Tensor, centers: Sequence[Point]) -> Box | None:
        found = logits.amax(0)
        return whole.box_of(found > 0, 1.0) or whole.box_of(found > FAINT, 1.0)

    def heard(self, look: str, window: Window, logits: Tensor, centers: Sequence[Point], first: int = 0) -> None:
        self._seen.update((first + n, (window, one)) for n, one in enumerate(logits.split(1)))

    def around_each(self) -> list[Box]:
        found, trust = zip(*(found_at(*self._seen[n]) for n in range(len(self._places))), strict=True)
        return expected_boxes(self._places, found, trust, MARGIN_ALONE) if max(trust) > 0 else []


class FromAlignment:
    """What several looks say. A look counts by the inverse of its cells' squared size, as an error of so many cells is
    weighed; a closer look's answer as much as its alignment, where it is sure of itself.

    :param places: of the classes in the reference.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._said: list[dict[str, list[Said]]] = [{} for _ in places]

    def around_all(self, whole: Window, logits: Tensor, centers: Sequence[Point]) -> Box | None:
        for said, center in zip(self._said, centers, strict=True):
            said["coarse"] = [(center, whole.step**-2)]
        boxes = self._boxes(1.0)
        low, high = np.min([b.low for b in boxes], axis=0), np.max([b.high for b in boxes], axis=0)
        return Box(tuple(low.tolist()), tuple(high.tolist()))

    def heard(self, look: str, window: Window, logits: Tensor, centers: Sequence[Point], first: int = 0) -> None:
        fine = window.step**-2
        for n, (center, one) in enumerate(zip(centers, logits.split(1), strict=True)):
            found, sure = found_at(window, one)
            answer = [] if found is None else [(found, sure * fine)]
            self._said[first + n][look] = [(center, fine), *answer]

    def around_each(self) -> list[Box]:
        return self._boxes(MARGIN_ALONE)

    def _boxes(self, margin: float) -> list[Box]:
        centers = []
        for looks in self._said:
            points, weights = zip(*(said for of_look in looks.values() for said in of_look), strict=True)
            centers.append(tuple(np.average(points, axis=0, weights=weights).tolist()))
        return expected_boxes(self._places, centers, [1.0] * len(centers), margin)
