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
from ..engine.client import Description, EngineClient, Job, Look
from ..engine.elsewhere import Server
from ..errors import IrisError
from ..imaging.volume import Volume
from .learning import Case, Learned, Learning
from .marks import Marks
from .nodes import affineOfNode, volumeFromNode
from .process import QtTransport
from .region import Region
from .results import showResult
from .segments import Voxels, lookedAt
from .sequences import SequenceResult, earlierResults, framesOf
from .targetrun import OnTarget, TargetRun
from .wish import Wish

OnProgress = Callable[[float, str], None]
OnError = Callable[[str], None]


@dataclass(frozen=True)
class NodeState:
    """What a target looked like when it was queued; a result is written only if it still does.

    :param index: of a sequence's frame; empty for a volume of the scene.
    """

    nodeID: str
    index: str
    imageTime: int
    transformID: str | None
    affine: bytes

    @classmethod
    def of(cls, node: slicer.vtkMRMLNode, index: str = "") -> NodeState:
        """Of a volume, or of a sequence's frame."""
        volumeNode = node.GetDataNodeAtValue(index) if index else node
        return cls(
            node.GetID(),
            index,
            volumeNode.GetImageData().GetMTime(),
            volumeNode.GetTransformNodeID(),
            affineOfNode(volumeNode).tobytes(),
        )

    def unchangedNode(self) -> slicer.vtkMRMLScalarVolumeNode:
        """The volume, if it is still there and as it was.

        :raises IrisError: when it is gone or was changed.
        """
        node = slicer.mrmlScene.GetNodeByID(self.nodeID)
        volumeNode = node.GetDataNodeAtValue(self.index) if node is not None and self.index else node
        if volumeNode is None or volumeNode.GetImageData() is None:
            raise IrisError("The volume was removed while it was being segmented; load it again for a result.")
        if NodeState.of(node, self.index) != self:
            raise IrisError(f"'{node.GetName()}' was changed while it was being segmented; segment it again.")
        return volumeNode


class Session:
    """
    :param network, device: as for `Engine`.
    :param server: address, token and certificate file of the one that computes instead, as for `Server`.
    :param onNote: called with a sentence that a person should read, whatever comes of the work.

    Example::

        session = Session()
        session.encode(volumeNode, segmentationNode, segmentIDs, "hippocampus", onProgress, onDone, onError)
        session.segmentAll(preset, volumeNodes, onTarget, onFinished)
    """

    def __init__(
        self,
        network: Path | None = None,
        device: str = "auto",
        server: tuple[str, str, Path | None] | None = None,
        onNote: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._transport = QtTransport()
        self._client = EngineClient(
            self._transport, python=workerPython(), network=network, device=device,
            server=Server(*server) if server is not None else None,
        )  # fmt: skip
        self._runs: list[TargetRun] = []
        self._onNote = onNote

    @property
    def busy(self) -> bool:
        return self._client.busy

    @property
    def started(self) -> bool:
        """Whether the worker is there."""
        return self._client.started

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

        :raises IrisError: at once, for a reference without image, segments or voxels; what is found when these are read
            is told by ``onError``.
        """
        if not segmentIDs:
            raise IrisError("No segment is ticked; tick at least one segment to learn.")
        image = volumeFromNode(volumeNode)
        marks = Marks(segmentationNode, volumeNode, segmentIDs)

        def cancelled() -> None:
            marks.stop()
            onError("")

        return self._client.encode(
            image, marks.segmentation, name=name, on_progress=onProgress, on_done=onDone, on_error=onError,
            on_cancelled=cancelled, on_note=self._onNote, on_taken=marks.check,
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
        nodes: Sequence[slicer.vtkMRMLNode],
        onTarget: OnTarget,
        onFinished: Callable[[], None],
        wish: Wish | None = None,
    ) -> None:
        """Queue every volume and every sequence of volumes; ``onTarget`` tells how each fares (waiting, running, done,
        failed, cancelled), each result appears as soon as it is there, and ``onFinished`` comes after the last."""
        self._runs, wish = [], wish or Wish()

        def onEnded() -> None:
            if all(run.ended for run in self._runs):
                onFinished()

        for node in nodes:
            try:
                self._queue(preset, node, wish, onTarget, onEnded)
            except IrisError as error:
                onTarget(node.GetID(), "failed", 0.0, str(error))
        if not self._runs:
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
        learning = Learning(self._client, preset, case, onProgress, onDone, onError, self._onNote)
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
            on_cancelled=lambda: onError(""), on_note=self._onNote,
        )  # fmt: skip

    def describe(self, onDone: Callable[[Description], None], onError: OnError) -> Job:
        """Who computes, in the background."""
        return self._client.describe(on_done=onDone, on_error=onError, on_cancelled=lambda: onError(""))

    def cancelTarget(self, nodeID: str) -> None:
        """Stop one target of those queued; the others go on."""
        for run in self._runs:
            if run.nodeID == nodeID:
                run.cancel()

    def cancel(self) -> None:
        """Stop what runs and what waits; within a second."""
        self._client.cancel_all()

    def close(self) -> None:
        """End the worker; nothing is left behind."""
        self._client.close()
        self._transport.close()

    def _queue(
        self,
        preset: Preset,
        node: slicer.vtkMRMLNode,
        wish: Wish,
        onTarget: OnTarget,
        onEnded: Callable[[], None],
    ) -> None:
        """One target, read and checked before any of its jobs is asked for."""
        sequence = node.IsA("vtkMRMLSequenceNode")
        if sequence and wish.destination is not None:
            raise IrisError("The frames of a sequence cannot be added to one segmentation; choose a single volume.")
        scans = [_Scan.of(node, index, wish.region) for index in (framesOf(node) if sequence else [""])]
        frames = SequenceResult(node, preset, wish.strategy) if sequence else None
        if wish.destination is not None:
            wish.destination.check(node)
        look = lookedAt([wish.destination.node] if wish.destination is not None else earlierResults(preset.name, node))

        def show(result: Result, voxels: Voxels, state: NodeState) -> None:
            volumeNode = state.unchangedNode()
            if frames is not None:
                frames.add(state.index, result, voxels)
            elif wish.destination is not None:
                wish.destination.add(result, preset, volumeNode, wish.strategy, wish.onlyEmpty, voxels)
            else:
                showResult(result, preset, volumeNode, wish.strategy, voxels)

        run = TargetRun(node.GetID(), len(scans), onTarget, onEnded)
        self._runs.append(run)
        for scan in scans:
            run.add(self._ask(run, scan, preset, wish, show, look))

    def _ask(
        self, run: TargetRun, scan: _Scan, preset: Preset, wish: Wish, show: Show, look: Callable[[], None]
    ) -> Job:
        def finished(result: Result) -> tuple[Result, Voxels]:
            look()  # while nobody waits for it
            return scan.finished(result, apart=wish.destination is not None)

        def done(outcome: tuple[Result, Voxels]) -> None:
            result, voxels = outcome
            try:
                show(result, voxels, scan.state)
            except IrisError as error:
                run.end("failed", str(error))
            else:
                run.end("done", _inWords(result) if run.count == 1 else f"{run.count} frames")

        return self._client.segment(
            scan.shown,
            preset,
            strategy=wish.strategy,
            source=wish.source,
            finish=finished,
            on_progress=run.tell,
            on_done=done,
            on_error=lambda sentence: run.end("failed", sentence),
            on_cancelled=lambda: run.end("cancelled", ""),
            on_note=self._onNote,
        )


Show = Callable[[Result, Voxels, NodeState], None]  # writes a result of what looked so


@dataclass(frozen=True)
class _Scan:
    """A volume or a frame as it is segmented: all of it, or the box around a region.

    :param shown: what the network is shown.
    """

    state: NodeState
    volume: Volume
    shown: Volume
    region: Region | None

    @classmethod
    def of(cls, node: slicer.vtkMRMLNode, index: str, region: slicer.vtkMRMLMarkupsROINode | None) -> _Scan:
        """:raises IrisError: when the node holds no single-valued 3D image, or the region does not meet it."""
        volumeNode = node.GetDataNodeAtValue(index) if index else node
        volume = volumeFromNode(volumeNode)
        part = Region.of(region, volumeNode) if region is not None else None
        return cls(NodeState.of(node, index), volume, part.cut(volume) if part else volume, part)

    def finished(self, result: Result, apart: bool) -> tuple[Result, Voxels]:
        """A result of what was shown, on all voxels of the volume, ready to be written."""
        whole = self.region.pasted(result, self.volume) if self.region else result
        return whole, Voxels.of(whole.segmentation, apart)


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
    """Short, for a table; the review has each segment's volume."""
    segments, volumes = result.segmentation.segments, result.volumes_ml
    if len(segments) == 1:
        return f"{segments[0].name} {volumes[0]:.1f} mL"
    return f"{len(segments)} segments, {sum(volumes):.1f} mL"
