"""The train cases of a labelled set as references, each of them encoded once however many targets it serves."""

from __future__ import annotations

from ..context.preset import Preset
from ..engine import Engine
from .dataset import LabelledSet


class Pool:
    """
    :param candidates: the cases that may serve as references.
    """

    def __init__(self, engine: Engine, labelled: LabelledSet) -> None:
        self.candidates = full_references(labelled)
        self._engine, self._labelled = engine, labelled
        self._presets: dict[str, Preset] = {}

    def preset(self, case: str) -> Preset:
        """The case as a preset of one reference."""
        if case not in self._presets:
            image, label = self._labelled.image(case), self._labelled.label(case)
            self._presets[case] = self._engine.encode(image, label, name=self._labelled.name)
        return self._presets[case]


def full_references(labelled: LabelledSet) -> list[str]:
    """The train cases that show the most classes, all of them where any does."""
    shown = {case: len(labelled.label(case).segments) for case in labelled.split("train")}
    most = max(shown.values())
    return [case for case, count in shown.items() if count == most]
