"""What is going on in one Slicer: the worker, the jobs over scene nodes, and what becomes of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import slicer

from ..context.preset import Preset
from ..context.privacy import scrubbed
from ..engine import Result
from ..engine.client import EngineClient, Job, Look
from ..errors import IrisError
from .learning import Case, Learned, Learning
from .nodes import affineOfNode, segmentationFromNode, volumeFromNode
from .process import QtTransport
from .results import showResult

OnProgress = Callable[[float, str], None]
OnError = Callable[[str], None]
OnTarget = Callable[[str, str, float, str], None]  # volume node ID, state, share done, words


@dataclass(frozen=True)
class NodeState:
    """What a target looked like when it was queued; a result is written only if it still does."""

    volumeID: str
    imageTime: int
    transformID: str | None
    affine: bytes

    @classmethod
    def of(cls, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> NodeState:
        return cls(
            volumeNode.GetID(),
            volumeNode.GetImageData().GetMTime(),
            volumeNode.GetTransformNodeID(),
            affineOfNode(volumeNode).tobytes(),
        )

    def unchangedNode(self) -> slicer.vtkMRMLScalarVolumeNode:
        """The node, if it is still there and as it was.

        :raises IrisError: when it is gone or was changed.
        """
        node = slicer.mrmlScene.GetNodeByID(self.volumeID)
        if node is None or node.GetImageData() is None:
            raise IrisError("The volume was removed while it was being segmented; its result was dropped.")
        if NodeState.of(node) != self:
            raise IrisError(f"'{node.GetName()}' was changed while it was being segmented; segment it again.")
        return node


class Session:
    """
    :param network, device: as for `Engine`.

    Example::

        session = Session()
        session.encode(volumeNode, segmentationNode, segmentIDs, "hippocampus", onProgress, onDone, onError)
        session.segmentAll(preset, volumeNodes, onTarget, onFinished)
    """

    def __init__(self, network: Path | None = None, device: str = "auto") -> None:
        self._transport = QtTransport()
        self._client = EngineClient(self._transport, python=workerPython(), network=network, device=device)
        self._jobs: list[Job] = []

    @property
    def busy(self) -> bool:
        return self._client.busy

    def encode(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentIDs: Sequence[str],
        name: str,
        onProgress: OnProgress,
        onDone: Callable[[Preset], None],
        onError: OnError,
    ) -> Job:
        """Learn a preset from a marked volume, in the background.

        :raises IrisError: at once, for a reference that cannot be learned from.
        """
        if not segmentIDs:
            raise IrisError("No segment is ticked; tick at least one segment to learn.")
        image = volumeFromNode(volumeNode)
        segmentation = segmentationFromNode(segmentationNode, volumeNode, segmentIDs)
        return self._client.encode(
            image, segmentation, name=name, on_progress=onProgress, on_done=onDone, on_error=onError,
            on_cancelled=lambda: onError(""),
        )  # fmt: skip

    def addReference(
        self,
        preset: Preset,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentIDs: Sequence[str],
        onProgress: OnProgress,
        onDone: Callable[[Preset], None],
        onError: OnError,
    ) -> Job:
        """Learn one more reference of a preset, in the background: ``onDone`` gets the preset with it at its end.

        :raises IrisError: at once, when the segments are not those of the preset, and as `encode`.
        """

        def done(added: Preset) -> None:
            if (added.network, added.preprocessing) == (preset.network, preset.preprocessing):
                onDone(preset.after(preset.with_reference(added), "Reference added"))
                return
            onError(
                f"The preset '{preset.name}' was made by another network than the one in use; "
                "encode the reference as a new preset, or choose the network that made it."
            )

        ordered = _inPresetOrder(preset, segmentationNode, segmentIDs)
        return self.encode(volumeNode, segmentationNode, ordered, preset.name, onProgress, done, onError)

    def segmentAll(
        self,
        preset: Preset,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        onTarget: OnTarget,
        onFinished: Callable[[], None],
    ) -> None:
        """Queue every volume; ``onTarget`` tells how each fares (waiting, running, done, failed, cancelled), each
        result appears as soon as it is there, and ``onFinished`` comes after the last."""
        self._jobs = []
        for node in volumeNodes:
            onTarget(node.GetID(), "waiting", 0.0, "")
            try:
                self._jobs.append(self._segment(preset, node, onTarget, onFinished))
            except IrisError as error:
                onTarget(node.GetID(), "failed", 0.0, str(error))
        if not self._jobs:
            onFinished()

    def learn(
        self,
        preset: Preset,
        case: Case,
        cases: Sequence[Case] | None,
        onProgress: OnProgress,
        onCurve: Callable[[Sequence[float]], None],
        onDone: Callable[[Learned], None],
        onError: OnError,
    ) -> None:
        """Learn from a corrected case, in the background: as one more reference, or by tuning to ``cases``; then
        ``onCurve`` gets the Dice of the cases held back as it grows.

        :raises IrisError: at once, for a case that cannot be learned from.
        """
        learning = Learning(self._client, preset, case, onProgress, onDone, onError)
        if cases is None:
            learning.addReference()
        else:
            learning.tune(cases, onCurve)

    def look(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        onProgress: OnProgress,
        onDone: Callable[[Look], None],
        onError: OnError,
    ) -> Job:
        """What a volume looks like to the network, in the background.

        :raises IrisError: at once, when the node holds no image.
        """
        return self._client.look(
            volumeFromNode(volumeNode), on_progress=onProgress, on_done=onDone, on_error=onError,
            on_cancelled=lambda: onError(""),
        )  # fmt: skip

    def cancel(self) -> None:
        """Stop what runs and what waits; within a second."""
        self._client.cancel_all()

    def close(self) -> None:
        """End the worker; nothing is left behind."""
        self._client.close()
        self._transport.close()

    def _segment(
        self,
        preset: Preset,
        node: slicer.vtkMRMLScalarVolumeNode,
        onTarget: OnTarget,
        onFinished: Callable[[], None],
    ) -> Job:
        image, state = volumeFromNode(node), NodeState.of(node)

        def ended(outcome: str, words: str) -> None:
            onTarget(state.volumeID, outcome, 1.0 if outcome == "done" else 0.0, words)
            if all(job.ended for job in self._jobs):
                onFinished()

        def done(result: Result) -> None:
            try:
                showResult(result, preset, state.unchangedNode())
            except IrisError as error:
                ended("failed", str(error))
            else:
                ended("done", _inWords(result))

        return self._client.segment(
            image,
            preset,
            on_progress=lambda fraction, text: onTarget(state.volumeID, "running", fraction, text),
            on_done=done,
            on_error=lambda sentence: ended("failed", sentence),
            on_cancelled=lambda: ended("cancelled", ""),
        )


def workerPython() -> list[str]:
    """The Python that runs the worker: PythonSlicer beside Slicer, or this one where there is no Slicer application."""
    executable = Path(sys.executable)
    names = ("PythonSlicer", "PythonSlicer.exe")
    places = [executable.parent, executable.parent / "bin", executable.parent.parent / "bin"]
    found = [place / name for place in places for name in names if (place / name).exists()]
    return [str(found[0] if found else executable)]


def _inPresetOrder(
    preset: Preset, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Sequence[str]
) -> list[str]:
    segmentation = segmentationNode.GetSegmentation()
    byName = {scrubbed(segmentation.GetSegment(segmentID).GetName()): segmentID for segmentID in segmentIDs}
    wanted = [segment.name for segment in preset.segments]
    if len(segmentIDs) != len(wanted) or set(byName) != set(wanted):
        raise IrisError(
            f"The preset '{preset.name}' knows other segments than those ticked; "
            f"tick these and no others: {', '.join(wanted)}."
        )
    return [byName[name] for name in wanted]


def _inWords(result: Result) -> str:
    parts = (
        f"{segment.name} {volume:.1f} mL"
        for segment, volume in zip(result.segmentation.segments, result.volumes_ml, strict=True)
    )
    return ", ".join(parts)
