"""The train cases of a labelled set as references, each of them encoded as a person would have it, once however many
targets it serves."""

from __future__ import annotations

import random

from ..context.preset import Preset
from ..engine import Engine
from .dataset import LabelledSet


class References:
    """
    :param candidates: the cases that may serve as references: those that show the most classes, all where any does.
    """

    def __init__(self, engine: Engine, labelled: LabelledSet) -> None:
        self.candidates = full_references(labelled)
        self._engine, self._labelled = engine, labelled
        self._presets: dict[str, Preset] = {}

    def drawn(self, seed: str, count: int) -> list[str]:
        """Random candidates by a seed; of more, the first are those of fewer."""
        return random.Random(seed).sample(self.candidates, min(count, len(self.candidates)))

    def preset(self, cases: list[str]) -> Preset:
        """The cases as one preset."""
        preset = self._encoded(cases[0])
        for other in cases[1:]:
            preset = preset.with_reference(self._encoded(other))
        return preset

    def _encoded(self, case: str) -> Preset:
        if case not in self._presets:
            image, label = self._labelled.image(case), self._labelled.label(case)
            self._presets[case] = self._engine.encode(image, label, name=self._labelled.name)
        return self._presets[case]


def full_references(labelled: LabelledSet) -> list[str]:
    """The train cases that show the most classes, all of them where any does."""
    shown = {case: len(labelled.label(case).segments) for case in labelled.split("train")}
    most = max(shown.values())
    return [case for case, count in shown.items() if count == most]
