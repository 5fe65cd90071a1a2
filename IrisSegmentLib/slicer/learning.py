"""From a corrected result to a better preset: measured before, learned from, measured after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer

from .marks import Marks
from .nodes import volumeFromNode

if TYPE_CHECKING:
    from ..context.preset import Preset
    from ..engine.client import EngineClient, Tuned
    from ..imaging.volume import Volume

OnProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class Case:
    """A scan and what a person says is in it.

    :param segmentIDs: of the preset's segments, in its order.
    """

    volumeNode: slicer.vtkMRMLScalarVolumeNode
    segmentationNode: slicer.vtkMRMLSegmentationNode
    segmentIDs: Sequence[str]

    def values(self) -> tuple[Volume, Marks]:
        """:raises IrisError: for a reference that cannot be learned from."""
        return volumeFromNode(self.volumeNode), Marks(self.segmentationNode, self.volumeNode, self.segmentIDs)


@dataclass(frozen=True)
class Learned:
    """
    :param preset: that learned; it remembers what it was before.
    :param before, after: its Dice on the corrected case per segment, 0..1.
    :param words: how it went; curve: Dice of cases held back while it was tuned.
    """

    preset: Preset
    before: tuple[float, ...]
    after: tuple[float, ...]
    words: str = ""
    curve: tuple[float, ...] = ()


class Learning:
    """
    :param client: who computes.
    :param onDone: called with `Learned`; onError: with a sentence, empty when it was cancelled; onNote: with one that
        a person should read whatever comes of it.

    Example::

        Learning(client, preset, case, onProgress, onDone, onError, onNote).addReference()
    """

    def __init__(
        self,
        client: EngineClient,
        preset: Preset,
        case: Case,
        onProgress: OnProgress,
        onDone: Callable[[Learned], None],
        onError: Callable[[str], None],
        onNote: Callable[[str], None],
    ) -> None:
        self._client, self._preset = client, preset
        self._onProgress, self._onError, self._onNote = onProgress, onError, onNote
        self._onDone = onDone
        self._image, self._truth = case.values()
        self._marks = [self._truth]

    def addReference(self) -> None:
        """Learn the case as one more reference."""
        before: tuple[float, ...] = ()

        def learned(added: Preset) -> None:
            grown = self._preset.after(self._preset.with_reference(added), "Reference added")
            self._measure(grown, 0.6, 1.0, lambda after: self._onDone(Learned(grown, before, after)))

        def measured(dice: tuple[float, ...]) -> None:
            nonlocal before
            before = dice
            name, news = self._preset.name, self._news(0.4, 0.6)
            self._client.encode(
                self._image, self._truth.segmentation, name=name, on_done=learned, on_taken=self._truth.check, **news
            )

        self._measure(self._preset, 0.0, 0.4, measured)

    def tune(self, cases: Sequence[Case], onCurve: Callable[[Sequence[float]], None]) -> None:
        """Tune the preset to corrected or accepted cases, this one among them.

        :param onCurve: called, while it goes on, with the Dice of the cases held back.

        :raises IrisError: at once, for a case that cannot be learned from.
        """
        scans = [case.values() for case in cases]
        self._marks += [marks for _image, marks in scans]
        before: tuple[float, ...] = ()

        def tuned(outcome: Tuned) -> None:
            better = self._preset.after(outcome.preset, f"Tuned on {len(scans)} scans")
            preset = better if outcome.gained else self._preset

            def done(after: tuple[float, ...]) -> None:
                self._onDone(Learned(preset, before, after, outcome.words, outcome.curve))

            self._measure(preset, 0.9, 1.0, done)

        def measured(dice: tuple[float, ...]) -> None:
            nonlocal before
            before = dice
            made = [(image, marks.segmentation) for image, marks in scans]
            self._client.tune(
                self._preset, made, on_done=tuned, on_curve=onCurve, on_taken=taken, **self._news(0.1, 0.9)
            )

        def taken() -> None:
            for _image, marks in scans:
                marks.check()

        self._measure(self._preset, 0.0, 0.1, measured)

    def _measure(
        self, preset: Preset, low: float, high: float, then: Callable[[tuple[float, ...]], None]
    ) -> None:
        self._client.measure(
            self._image, self._truth.segmentation, preset, on_done=then, on_taken=self._truth.check,
            **self._news(low, high),
        )

    def _onCancelled(self) -> None:
        for marks in self._marks:
            marks.stop()
        self._onError("")

    def _news(self, low: float, high: float) -> dict[str, Any]:
        return {
            "on_progress": lambda fraction, words: self._onProgress(low + (high - low) * fraction, words),
            "on_error": self._onError,
            "on_cancelled": self._onCancelled,
            "on_note": self._onNote,
        }
