"""From a corrected result to a better preset: measured before, learned from, measured after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer

from .nodes import segmentationFromNode, unlessWritten, volumeFromNode

if TYPE_CHECKING:
    from ..context.preset import Preset
    from ..engine.client import EngineClient, Tuned
    from ..imaging.volume import Segmentation, Volume

OnProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class Case:
    """A scan and what a person says is in it.

    :param segmentIDs: of the preset's segments, in its order.
    """

    volumeNode: slicer.vtkMRMLScalarVolumeNode
    segmentationNode: slicer.vtkMRMLSegmentationNode
    segmentIDs: Sequence[str]

    def values(self) -> tuple[Volume, Segmentation]:
        """:raises IrisError: for a reference that cannot be learned from."""
        segmentation = segmentationFromNode(self.segmentationNode, self.volumeNode, self.segmentIDs)
        return volumeFromNode(self.volumeNode), segmentation


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
        self._image, self._truth = case.values()
        self._onDone = unlessWritten(case.volumeNode, onDone, onError)

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
            self._client.encode(self._image, self._truth, name=name, on_done=learned, **news)

        self._measure(self._preset, 0.0, 0.4, measured)

    def tune(self, cases: Sequence[Case], onCurve: Callable[[Sequence[float]], None]) -> None:
        """Tune the preset to corrected or accepted cases, this one among them.

        :param onCurve: called, while it goes on, with the Dice of the cases held back.

        :raises IrisError: at once, for a case that cannot be learned from.
        """
        scans = [case.values() for case in cases]
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
            self._client.tune(self._preset, scans, on_done=tuned, on_curve=onCurve, **self._news(0.1, 0.9))

        self._measure(self._preset, 0.0, 0.1, measured)

    def _measure(
        self, preset: Preset, low: float, high: float, then: Callable[[tuple[float, ...]], None]
    ) -> None:
        self._client.measure(self._image, self._truth, preset, on_done=then, **self._news(low, high))

    def _news(self, low: float, high: float) -> dict[str, Any]:
        return {
            "on_progress": lambda fraction, words: self._onProgress(low + (high - low) * fraction, words),
            "on_error": self._onError,
            "on_cancelled": lambda: self._onError(""),
            "on_note": self._onNote,
        }
