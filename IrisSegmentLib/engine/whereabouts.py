"""Where several organs lie that the network hardly finds even in the scan that they were marked in: its answers to the
whole scan of a target are the worse guide then.

Of head and neck, which two networks had not been shown, they lay 63 and 50 mm from the truth on the mean, and the
alignment of what looks alike (`network/alignment.py`) 27 and 26 mm. What the network knows it finds better itself, and
where one thing alone lies may hang on nothing else: a tumor lies elsewhere in each patient. Tried on the test cases,
this took 7 points of Dice from tumors in PET, so they are left alone (Resources/Network/MODEL_CARD.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from torch import Tensor

from ..context.arrangement import Place, Point, expected_boxes
from ..context.caution import HARDLY
from ..context.preset import Preset
from ..imaging.box import Box
from ..imaging.window import Window
from .looks import MARGIN_ALONE, found_at

Said: TypeAlias = tuple[Point, float]  # where in mm, and how much that counts


class Whereabouts:
    """What several looks say of where each class lies. A look counts by the inverse of its cells' squared size, as an
    error of so many cells is weighed; a closer look's answer as much as its alignment, where it is sure of itself.

    :param places: of the classes in the reference.

    Example::

        whereabouts = Whereabouts(preset.places())
        whereabouts.heard("coarse", window, centers)
        box = whereabouts.box()
        whereabouts.heard("fine", closer, closer_centers, logits)
        boxes = whereabouts.boxes()
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._said: list[dict[str, list[Said]]] = [{} for _ in places]

    @classmethod
    def of(cls, preset: Preset) -> Whereabouts | None:
        """None where the network is the better guide."""
        known = [found for found in preset.found_again() if found is not None]
        hardly = bool(known) and float(np.mean(known)) < HARDLY
        return cls(preset.places()) if hardly and preset.places() else None

    def heard(
        self, look: str, window: Window, centers: Sequence[Point], logits: Tensor | None = None, first: int = 0
    ) -> None:
        """What a look says, in place of what it said before.

        :param centers: where the alignment has the classes that it shows, in mm; first: number of the first of them.
        :param logits: its answer (k, D, H, W), where that is to count.
        """
        fine = window.step**-2
        for n, center in enumerate(centers):
            said = [(center, fine)]
            if logits is not None:
                found, sure = found_at(window, logits[n : n + 1])
                if found is not None:
                    said.append((found, sure * fine))
            self._said[first + n][look] = said

    def box(self) -> Box:
        """Around all classes."""
        boxes = self._boxes(1.0)
        low, high = np.min([b.low for b in boxes], axis=0), np.max([b.high for b in boxes], axis=0)
        return Box(tuple(low.tolist()), tuple(high.tolist()))

    def boxes(self) -> list[Box]:
        """Of a look at each class alone."""
        return self._boxes(MARGIN_ALONE)

    def _boxes(self, margin: float) -> list[Box]:
        centers = []
        for looks in self._said:
            points, weights = zip(*(said for of_look in looks.values() for said in of_look), strict=True)
            centers.append(tuple(np.average(points, axis=0, weights=weights).tolist()))
        return expected_boxes(self._places, centers, [1.0] * len(centers), margin)
