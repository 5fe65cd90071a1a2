"""Sequences of volumes (4D) as their frames, and their results: a sequence that browses in step with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer

from ..errors import IrisError
from .results import fill, isUntouched, markResult, placeBeside, resultsOf
from .segments import Voxels, forget

if TYPE_CHECKING:
    from ..context.preset import Preset
    from ..engine import Result


def framesOf(sequenceNode: slicer.vtkMRMLSequenceNode) -> list[str]:
    """The index values of a sequence's frames.

    :raises IrisError: when it holds none, or others than volumes.
    """
    count = sequenceNode.GetNumberOfDataNodes()
    if not isVolumeSequence(sequenceNode):
        raise IrisError(f"The sequence '{sequenceNode.GetName()}' holds no volumes; choose another.")
    return [sequenceNode.GetNthIndexValue(number) for number in range(count)]


def isVolumeSequence(sequenceNode: slicer.vtkMRMLSequenceNode) -> bool:
    """Whether a sequence holds scalar volumes."""
    frames = range(sequenceNode.GetNumberOfDataNodes())
    kinds = {sequenceNode.GetNthDataNode(number).GetClassName() for number in frames}
    return kinds == {"vtkMRMLScalarVolumeNode"}


def proxiesOf(sequenceNode: slicer.vtkMRMLSequenceNode) -> list[slicer.vtkMRMLNode]:
    """The scene's nodes that show the current frame of a sequence."""
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    proxies = [b.GetProxyNode(sequenceNode) for b in browsers if b.IsSynchronizedSequenceNode(sequenceNode, True)]
    return [proxy for proxy in proxies if proxy is not None]


class SequenceResult:
    """Takes the results of a sequence's frames one by one; the first of them makes the sequence appear.

    An earlier result of the same preset is replaced frame by frame, unless a person has changed any of it.
    """

    def __init__(self, sequenceNode: slicer.vtkMRMLSequenceNode, preset: Preset, strategy: str) -> None:
        self._frames, self._preset, self._strategy = sequenceNode, preset, strategy
        self._results: slicer.vtkMRMLSequenceNode | None = None

    def add(self, index: str, result: Result, voxels: Voxels) -> None:
        """The result of the frame with an index value."""
        if self._results is None:
            self._results = self._own() or self._new()
        frame = self._frames.GetDataNodeAtValue(index)
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(self._results.GetName())
        node.SetReferenceImageGeometryParameterFromVolumeNode(frame)
        fill(node, result, self._preset, self._strategy, voxels)
        for old in [self._results.GetDataNodeAtValue(index), *self._refilled()]:
            if old is not None:
                forget(old, old.GetSegmentation().GetSegmentIDs())
        self._results.SetDataNodeAtValue(node, index)
        forget(node, node.GetSegmentation().GetSegmentIDs())  # of which the sequence has a copy
        self._show()

    def _own(self) -> slicer.vtkMRMLSequenceNode | None:
        for results in resultsOf(self._preset.name, self._frames):
            if all(isUntouched(node) for node in _framesAndProxies(results)):
                return results
        return None

    def _new(self) -> slicer.vtkMRMLSequenceNode:
        name = slicer.mrmlScene.GenerateUniqueName(f"{self._frames.GetName()} {self._preset.name}")
        results = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        results.SetIndexName(self._frames.GetIndexName())
        results.SetIndexUnit(self._frames.GetIndexUnit())
        results.SetIndexType(self._frames.GetIndexType())
        markResult(results, self._preset.name, self._frames)
        return results

    def _refilled(self) -> list[slicer.vtkMRMLSegmentationNode]:
        """Those that browsers fill anew when the results change, and never read from."""
        browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
        ours = [browser for browser in browsers if browser.IsSynchronizedSequenceNode(self._results, True)]
        return [browser.GetProxyNode(self._results) for browser in ours if not browser.GetSaveChanges(self._results)]

    def _show(self) -> None:
        """Let every browser of the frames show the results in step, beside the volume and under its transform."""
        for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
            if not browser.IsSynchronizedSequenceNode(self._frames, True):
                continue
            if not browser.IsSynchronizedSequenceNode(self._results, True):
                browser.AddSynchronizedSequenceNode(self._results)
            proxy = browser.GetProxyNode(self._results)
            if proxy is None or not proxy.GetSegmentation().GetNumberOfSegments():
                slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
            volume, proxy = browser.GetProxyNode(self._frames), browser.GetProxyNode(self._results)
            if volume is not None and proxy is not None:
                _lieBeside(proxy, volume)


def earlierResults(presetName: str, node: slicer.vtkMRMLNode) -> list[slicer.vtkMRMLSegmentationNode]:
    """What a preset of this name has made of a volume, or of each frame of a sequence."""
    found = resultsOf(presetName, node)
    return [n for results in found for n in _framesAndProxies(results)] if node.IsA("vtkMRMLSequenceNode") else found


def _framesAndProxies(results: slicer.vtkMRMLSequenceNode) -> list[slicer.vtkMRMLSegmentationNode]:
    frames = [results.GetNthDataNode(number) for number in range(results.GetNumberOfDataNodes())]
    return [*frames, *proxiesOf(results)]


def _lieBeside(proxy: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    proxy.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    role = proxy.GetReferenceImageGeometryReferenceRole()
    if proxy.GetNodeReferenceID(role) != volume.GetID():
        proxy.SetNodeReferenceID(role, volume.GetID())
        proxy.CreateDefaultDisplayNodes()
        placeBeside(proxy, volume)
