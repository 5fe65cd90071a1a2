"""Where unfamiliar anatomy lies in a target: there the network's own answer is the worse guide.

Of head and neck, which a network had never been shown, its answers to the whole scan lay 63 mm from the truth on the
mean, and the alignment of what looks alike (`network/alignment.py`) 27 mm (Resources/Network/MODEL_CARD.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from torch import Tensor

from ..context.arrangement import Place, Point, expected_boxes
from ..imaging.box import Box
from ..imaging.window import Window
from .looks import FELT, MARGIN_ALONE, confidence

ANSWER = 2.0  # what a closer look's answer counts beside its alignment, where it is sure of itself and half is found
LEAST = 0.01  # what an alignment counts at least
HALF = 0.5  # how much of a class is taken to be found again where that is not known
Said: TypeAlias = tuple[Point, float]  # where in mm, and how much that counts


class Whereabouts:
    """What several looks say of where each class lies. A look counts by how small its cells are, as an error of so many
    cells would be weighed: by the inverse of their squared size. Its answer counts the more, and its alignment the
    less, the more of the class the preset finds in its reference's own scan.

    :param places: of the classes in the reference; none when it is one class.
    :param extent: of the closer look at the references, in mm.
    :param found_again: as of `Preset.found_again`.

    Example::

        whereabouts = Whereabouts(preset.places(), preset.extent, preset.found_again())
        whereabouts.heard("coarse", window, centers)
        box = whereabouts.box()
        whereabouts.heard("fine", closer, closer_centers, logits)
        boxes = whereabouts.boxes()
    """

    def __init__(self, places: Sequence[Place], extent: Point, found_again: Sequence[float | None]) -> None:
        if not places:
            half = tuple(e / MARGIN_ALONE / 2 for e in extent)
            low, high = tuple(-h for h in half), half
            places = (Place((0.0, 0.0, 0.0), low, high),)  # type: ignore[arg-type]
        self._places = places
        self._found_again = [HALF if found is None else found for found in found_again]
        self._said: list[dict[str, list[Said]]] = [{} for _ in places]

    def heard(
        self, look: str, window: Window, centers: Sequence[Point], logits: Tensor | None = None, first: int = 0
    ) -> None:
        """What a look says, in place of what it said before.

        :param centers: where the alignment has the classes that it shows, in mm; first: number of the first of them.
        :param logits: its answer (k, D, H, W), where that is to count.
        """
        fine = window.step**-2
        for n, center in enumerate(centers, first):
            again = self._found_again[n]
            said = [(center, (1 - again + LEAST) * fine)]
            if logits is not None:
                answer = logits[n - first : n - first + 1]
                felt = answer[0].sigmoid()
                found = window.center_of(felt * (felt > FELT))
                if found is not None:
                    said.append((found, ANSWER * again * confidence(answer)[0] * fine))
            self._said[n][look] = said

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
