"""Results into a segmentation that a person has: only named segments are written, and one step takes them back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import slicer

from ..errors import IrisError
from .bounds import boundsOf
from .doubts import keepDoubt
from .nodes import worldOf
from .segments import Voxels, addSegment, cutOut, forget, isEmpty, isOurs, sign
from .tags import TARGET_ROLE

if TYPE_CHECKING:
    from ..context.preset import Preset
    from ..engine import Result


@dataclass(frozen=True)
class Before:
    """What a segment was before it was written to.

    :param labelmap: its voxels; None for none.
    :param words: its name, color, terminology and tags.
    """

    labelmap: slicer.vtkOrientedImageData | None
    words: slicer.vtkSegment

    @classmethod
    def of(cls, node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> Before:
        words = slicer.vtkSegment()
        words.DeepCopyMetadata(node.GetSegmentation().GetSegment(segmentID))
        return cls(cutOut(node, segmentID), words)


class ExistingSegmentation:
    """
    :param beforeWriting: called before anything in it is changed, for those who keep an undo of their own.

    Example::

        existing = ExistingSegmentation(segmentationNode)
        existing.add(result, preset, volumeNode)
        existing.undo()
    """

    def __init__(
        self, node: slicer.vtkMRMLSegmentationNode, beforeWriting: Callable[[], None] = lambda: None
    ) -> None:
        self.node, self._beforeWriting = node, beforeWriting
        self._before: dict[str, Before | None] = {}  # by segment ID, of the latest addition; None for a new segment

    def check(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """:raises IrisError: when it is gone from the scene or lies under another transform than the volume."""
        if self.node.GetScene() is None:
            raise IrisError("The segmentation to add to was removed; choose another.")
        if self.node.GetTransformNodeID() != volumeNode.GetTransformNodeID():
            raise IrisError(
                f"'{self.node.GetName()}' lies under another transform than '{volumeNode.GetName()}'; "
                "put both under the same one, or let a new segmentation be made."
            )

    def add(
        self,
        result: Result,
        preset: Preset,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        strategy: str = "ensemble",
        onlyEmpty: bool = False,
        voxels: Voxels | None = None,
    ) -> list[str]:
        """Write a result's segments; returns the IDs of those written.

        A segment of the same name is filled when it is empty or still as this module made it. One that a person drew
        stays as it is, and the new one is numbered. Where a written segment meets another, both keep their voxels.

        :param onlyEmpty: fill what is empty and has the name of a result's segment; add nothing.
        :param voxels: of the result, when they were put together already.
        :raises IrisError: as `check`, and when nothing that is empty has a fitting name; nothing is written.
        """
        self.check(volumeNode)
        places = self._places([segment.name for segment in result.segmentation.segments], onlyEmpty)
        if onlyEmpty and not any(places):
            raise IrisError(
                f"No empty segment of '{self.node.GetName()}' has a name that the preset '{preset.name}' knows; "
                f"add an empty segment named {' or '.join(s.name for s in preset.segments)}."
            )
        surface = self.node.GetSegmentation().ContainsRepresentation("Closed surface")
        self._prepareGrid(volumeNode)
        voxels = voxels or Voxels.of(result.segmentation, apart=True)
        onGrid = self._onGrid(voxels)
        self._beforeWriting()
        self._before = {}
        written = []
        for number, place in enumerate(places):
            if place or not onlyEmpty:
                written.append((number, self._write(result, number, place, onGrid(voxels.parts[number]))))
        numbers, ids = [number for number, _id in written], [segmentID for _number, segmentID in written]
        part = _only(result, numbers)
        own = replace(voxels, signatures=tuple(voxels.signatures[n] for n in numbers)) if onGrid is _asItIs else None
        sign(self.node, ids, part, preset, strategy, own)
        self._offerForReview(part, ids, volumeNode)
        if surface:  # it was shown in 3D, so what is new is shown too
            self.node.CreateClosedSurfaceRepresentation()
        return ids

    @property
    def canUndo(self) -> bool:
        return self.node.GetScene() is not None and bool(self._before)

    def undo(self) -> list[str]:
        """Take the latest addition back; returns the names of segments that stay, since a person has changed them."""
        segmentation, stayed, gone = self.node.GetSegmentation(), [], []
        for segmentID, before in self._before.items():
            segment = segmentation.GetSegment(segmentID)
            if segment is None:
                continue
            if not isOurs(self.node, segmentID):
                stayed.append(segment.GetName())
            elif before is None:
                gone.append(segmentID)
            else:
                self._replace(segmentID, before.labelmap)
                segment.DeepCopyMetadata(before.words)
        forget(self.node, gone)
        self._before = {}
        return stayed

    def _offerForReview(self, part: Result, ids: list[str], volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """What was added is reviewed beside its volume, unless the segmentation is of another one."""
        if self.node.GetNodeReferenceID(TARGET_ROLE) in (None, volumeNode.GetID()):
            self.node.SetNodeReferenceID(TARGET_ROLE, volumeNode.GetID())
            if part.doubt is not None:
                keepDoubt(self.node, ids, part.doubt)

    def _places(self, names: list[str], onlyEmpty: bool) -> list[str]:
        """Per name, the ID of the segment to fill, or nothing where a new one is due."""
        segmentation = self.node.GetSegmentation()
        places = []
        for name in names:
            for segmentID in segmentation.GetSegmentIDs():
                if segmentation.GetSegment(segmentID).GetName() != name or segmentID in places:
                    continue
                if isEmpty(self.node, segmentID) or (not onlyEmpty and isOurs(self.node, segmentID)):
                    places.append(segmentID)
                    break
            else:
                places.append("")
        return places

    def _prepareGrid(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """A segmentation that has no grid yet takes the volume's; another grid is kept."""
        if not self._grid():
            self.node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)

    def _grid(self) -> str:
        name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        return self.node.GetSegmentation().GetConversionParameter(name)

    def _write(self, result: Result, number: int, place: str, labelmap: slicer.vtkOrientedImageData) -> str:
        if place:
            self._before[place] = Before.of(self.node, place)
            self._replace(place, labelmap)
            return place
        words = result.segmentation.segments[number]
        place = addSegment(self.node, self._freeName(words.name), words.color, labelmap)
        self._before[place] = None
        return place

    def _replace(self, segmentID: str, labelmap: slicer.vtkOrientedImageData | None) -> None:
        # A layer of its own first: writing into a shared one would take voxels from those who share it.
        segmentation = self.node.GetSegmentation()
        segmentation.SeparateSegmentLabelmap(segmentID)
        segmentation.ClearSegment(segmentID)
        if labelmap is not None and not labelmap.IsEmpty():
            logic = slicer.vtkSlicerSegmentationsModuleLogic
            logic.SetBinaryLabelmapToSegment(labelmap, self.node, segmentID, logic.MODE_REPLACE, labelmap.GetExtent())

    def _freeName(self, name: str) -> str:
        segmentation = self.node.GetSegmentation()
        taken = {segmentation.GetSegment(segmentID).GetName() for segmentID in segmentation.GetSegmentIDs()}
        numbered = (f"{name} {number}" for number in range(2, len(taken) + 3))
        return name if name not in taken else next(other for other in numbered if other not in taken)

    def _onGrid(self, voxels: Voxels) -> Callable[[slicer.vtkOrientedImageData], slicer.vtkOrientedImageData]:
        """What puts a part of a result on the segmentation's own voxels."""
        grid = slicer.vtkOrientedImageData()
        slicer.vtkSegmentationConverter.DeserializeImageGeometry(self._grid(), grid, False)
        resample, extent = slicer.vtkOrientedImageDataResample, grid.GetExtent()
        some = next((part for part in voxels.parts if not part.IsEmpty()), None)
        if some is None or resample.DoGeometriesMatch(some, grid):
            return _asItIs

        def moved(part: slicer.vtkOrientedImageData) -> slicer.vtkOrientedImageData:
            if part.IsEmpty():
                return part
            found = slicer.vtkOrientedImageData()
            grid.SetExtent(_reach(part, grid))
            resample.ResampleOrientedImageToReferenceOrientedImage(part, grid, found, False, False)
            grid.SetExtent(extent)
            return found

        return moved


def _asItIs(part: slicer.vtkOrientedImageData) -> slicer.vtkOrientedImageData:
    return part


def _reach(part: slicer.vtkOrientedImageData, grid: slicer.vtkOrientedImageData) -> list[int]:
    """The extent, on a grid that goes on for ever, in which the voxels of an image lie."""
    extent = np.array(part.GetExtent())
    # A voxel more on each side, for what is rounded.
    steps = worldOf(part), np.linalg.inv(worldOf(grid))
    low, high = boundsOf(extent[::2] - 1, extent[1::2] + 1, *steps)
    return np.stack([np.floor(low), np.ceil(high)], 1).astype(int).ravel().tolist()


def _only(result: Result, numbers: list[int]) -> Result:
    """A result with only some of its segments."""
    confidence, volumes = (tuple(values[n] for n in numbers) for values in (result.confidence, result.volumes_ml))
    doubt = result.doubt and replace(result.doubt, places=tuple(result.doubt.places[n] for n in numbers))
    only, empty = result.segmentation.only(numbers), tuple(result.left_empty[n] for n in numbers if result.left_empty)
    return replace(
        result, segmentation=only, confidence=confidence, volumes_ml=volumes, doubt=doubt, left_empty=empty, signs=()
    )
