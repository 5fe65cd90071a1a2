"""Segments that this module makes: their voxels, their tags, and whether a person has touched them since."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from .. import __version__
from ..imaging.volume import Segmentation, VoxelBox, boxes_of
from .nodes import worldOf
from .tags import TAG, tagOf

if TYPE_CHECKING:
    from ..context.preset import Preset
    from ..engine import Result

FINGERPRINT = "Fingerprint"  # the tag by which a segment is known again
BINARY_LABELMAP = "Binary labelmap"


def imageOf(labels: np.ndarray, low: Sequence[int], affine: np.ndarray) -> slicer.vtkOrientedImageData:
    """An image of labels, (K, J, I), whose first voxel is ``low``, I, J, K, of a grid. Can be made on any thread: while
    the values are copied the others go on."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent([int(n) for a, b in zip(low, labels.shape[::-1], strict=True) for n in (a, a + b - 1)])
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    if labels.size:
        scalars = vtk.vtkUnsignedCharArray()
        scalars.SetName("ImageScalars")
        scalars.SetNumberOfValues(labels.size)
        np.copyto(vtk_to_numpy(scalars).reshape(labels.shape), labels, casting="unsafe")
        image.GetPointData().SetScalars(scalars)
    else:
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return image


def _extent(box: VoxelBox) -> tuple[int, ...]:
    """As VTK counts: first and last index along each axis."""
    return tuple(value for side in box for value in (side.start, side.stop - 1))


@dataclass(frozen=True)
class Voxels:
    """A result's voxels as the scene takes them: put together away from the main thread, where it takes no one's time.

    :param segmentation: with one layer, as the engine gives it.
    :param signatures: per segment, what its voxels are known by.
    """

    segmentation: Segmentation
    signatures: tuple[str, ...]

    @classmethod
    def of(cls, segmentation: Segmentation, apart: bool = False) -> Voxels:
        """:param apart: whether `parts` are wanted, else `whole`."""
        signatures = tuple(_signature(_extent(box), mask) for box, mask in _masks(segmentation))
        voxels = cls(segmentation, signatures)
        _ready = voxels.parts if apart else voxels.whole
        return voxels

    @cached_property
    def whole(self) -> slicer.vtkOrientedImageData:
        """All segments, by their labels: what they share. Cut to what is not empty."""
        (layer,) = self.segmentation.layers
        boxes = [box for box in self.segmentation.boxes if box[0].stop]
        low = [min((box[n].start for box in boxes), default=0) for n in range(3)]
        union = tuple(slice(n, max((box[axis].stop for box in boxes), default=0)) for axis, n in enumerate(low))
        return imageOf(layer[union].transpose(2, 1, 0), low, self.segmentation.affine)

    @cached_property
    def parts(self) -> tuple[slicer.vtkOrientedImageData, ...]:
        """Each segment by itself, 0 and 1, cut to what is not empty."""
        return tuple(
            imageOf(mask, [side.start for side in box], self.segmentation.affine)
            for box, mask in _masks(self.segmentation)
        )


def _masks(segmentation: Segmentation) -> Iterator[tuple[VoxelBox, np.ndarray]]:
    """Each segment's box and what of it is the segment, (K, J, I)."""
    for box, words in zip(segmentation.boxes, segmentation.segments, strict=True):
        yield box, segmentation.layers[words.layer][box].transpose(2, 1, 0) == words.label


def addSegments(node: slicer.vtkMRMLSegmentationNode, voxels: Voxels) -> list[str]:
    """A result's segments as new ones of a node on the same voxels, in a layer that they share; returns their IDs."""
    words = voxels.segmentation.segments
    return [addSegment(node, each.name, each.color, voxels.whole, each.label) for each in words]


def addSegment(
    node: slicer.vtkMRMLSegmentationNode,
    name: str,
    color: Sequence[float],
    image: slicer.vtkOrientedImageData,
    label: int = 1,
) -> str:
    """A new segment; returns its ID."""
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*color)
    segment.SetLabelValue(label)
    segment.AddRepresentation(BINARY_LABELMAP, image)
    node.GetSegmentation().AddSegment(segment)
    return str(node.GetSegmentation().GetSegmentIdBySegment(segment))


def forget(node: slicer.vtkMRMLSegmentationNode, segmentIDs: Sequence[str]) -> None:
    """Remove segments. Slicer wipes each from the layer that it shares, voxel by voxel: where nobody else shares it,
    they let go of it first."""
    segmentation = node.GetSegmentation()
    layers = {i: segmentation.GetSegment(i).GetRepresentation(BINARY_LABELMAP) for i in segmentation.GetSegmentIDs()}
    others = [layer for segmentID, layer in layers.items() if segmentID not in segmentIDs]
    for segmentID in segmentIDs:
        if not any(layers[segmentID] is other for other in others):
            segmentation.GetSegment(segmentID).AddRepresentation(BINARY_LABELMAP, slicer.vtkOrientedImageData())
    for segmentID in segmentIDs:
        segmentation.RemoveSegment(segmentID)


def sign(
    node: slicer.vtkMRMLSegmentationNode,
    segmentIDs: Sequence[str],
    result: Result,
    preset: Preset,
    strategy: str,
    voxels: Voxels | None = None,
) -> None:
    """Write into segments where they came from: the result's, in its order, once all are in place.

    The tags are Preset, Network, References, Strategy, Version, Time, Confidence, Note (a sentence, mostly none),
    Volume and UsualVolume (in mL), each after "IrisSegment.", and a fingerprint by which `isOurs` knows them again.

    :param voxels: of the result, when the segments lie on its own grid; else what was written is looked at.
    """
    usual = dict(zip((segment.name for segment in preset.segments), preset.volumes_ml(), strict=True))
    for number, segmentID in enumerate(segmentIDs):
        segment, words = node.GetSegmentation().GetSegment(segmentID), result.segmentation.segments[number]
        if words.terminology:
            segment.SetTerminology(words.terminology)
        if voxels:  # nobody need look at them
            _seen[node.GetID(), segmentID] = (_time(segment), voxels.signatures[number])
        usualVolume = usual.get(words.name)
        for key, value in {
            "Preset": preset.name,
            "Network": preset.network,
            "References": str(sum(r.enabled for r in preset.references)),
            "Strategy": strategy,
            "Version": __version__,
            "Time": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "Confidence": f"{result.confidence[number]:.3f}",
            "Note": result.words(number),
            "Volume": f"{result.volumes_ml[number]:.4f}" if voxels else "",  # on another grid it is another
            "UsualVolume": "" if usualVolume is None else f"{usualVolume:.4f}",
            FINGERPRINT: f"{_wordsOf(segment)} {_signatureOf(node, segmentID)}",
        }.items():
            segment.SetTag(TAG + key, value)


def isTagged(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> bool:
    """Whether this module made a segment, whatever became of it since."""
    return bool(node.GetSegmentation().GetSegment(segmentID).HasTag(TAG + FINGERPRINT))


def isOurs(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> bool:
    """Whether a segment is as this module made it: no voxel, name or color was changed."""
    segment = node.GetSegmentation().GetSegment(segmentID)
    words, _space, signature = tagOf(segment, FINGERPRINT).partition(" ")
    return words == _wordsOf(segment) and signature == _signatureOf(node, segmentID)


def hasWrittenVoxels(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> bool:
    """Whether a segment's voxels are known to be as this module made them, without a look at any: what was not looked
    at since its layer was written to is not known."""
    segment = node.GetSegmentation().GetSegment(segmentID)
    _words, _space, signature = tagOf(segment, FINGERPRINT).partition(" ")
    return _seen.get((node.GetID(), segmentID)) == (_time(segment), signature)


def lookedAt(nodes: Sequence[slicer.vtkMRMLSegmentationNode]) -> Callable[[], None]:
    """What looks, on any thread, at those segments of this module that were not looked at since they were written to:
    `isOurs` then knows at once."""
    looks = [
        look
        for node in nodes
        for segmentID in node.GetSegmentation().GetSegmentIDs()
        if isTagged(node, segmentID)
        for look in _unseen(node, segmentID)
    ]

    def lookAtAll() -> None:
        while looks:
            looks.pop()()

    return lookAtAll


def isEmpty(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> bool:
    """Whether a segment has no voxel."""
    segment = node.GetSegmentation().GetSegment(segmentID)
    layer, label = _layerOf(segment), segment.GetLabelValue()
    return layer is None or not any((plane == label).any() for plane in layer[1])  # the first that is found will do


# When a segment's layer was last written to, and what its voxels were known by then, so that they are looked at once;
# by node and segment ID. VTK's times never repeat.
_seen: dict[tuple[str, str], tuple[int, str]] = {}


def _time(segment: slicer.vtkSegment) -> int:
    image = segment.GetRepresentation(BINARY_LABELMAP)
    return int(image.GetMTime()) if image is not None else -1


def _wordsOf(segment: slicer.vtkSegment) -> str:
    """Changes with a segment's name and color."""
    return f"{zlib.crc32(f'{segment.GetName()} {segment.GetColor()}'.encode()):08x}"


def _signatureOf(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> str:
    """Changes with a segment's voxels, not with those of its neighbors in a shared layer."""
    for look in _unseen(node, segmentID):
        look()
    return _seen[node.GetID(), segmentID][1]


def _unseen(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> list[Callable[[], None]]:
    """What looks at a segment's voxels, on any thread; nothing when they were looked at since they were written to."""
    segment = node.GetSegmentation().GetSegment(segmentID)
    key, when, layer, label = (node.GetID(), segmentID), _time(segment), _layerOf(segment), segment.GetLabelValue()
    if _seen.get(key, (-2, ""))[0] == when:
        return []

    def look() -> None:
        found = _masked(layer, label)
        signature = _signature((), np.zeros(0, bool)) if found is None else _signature(*found)
        _seen[key] = (when, signature)

    return [look]


def _signature(extent: Sequence[int], mask: np.ndarray) -> str:
    """Of the voxels (K, J, I) in the smallest box that holds a segment."""
    value = zlib.crc32(str(tuple(extent)).encode() if mask.size else b"")
    return f"{zlib.crc32(np.ascontiguousarray(mask).ravel().data, value):08x}"


def cutOut(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> slicer.vtkOrientedImageData | None:
    """A copy of a segment's voxels, 0 and 1, cut to them; None when there are none."""
    segment = node.GetSegmentation().GetSegment(segmentID)
    found = _masked(_layerOf(segment), segment.GetLabelValue())
    if found is None:
        return None
    extent, mask = found
    return imageOf(mask, extent[::2], worldOf(segment.GetRepresentation(BINARY_LABELMAP)))


def _layerOf(segment: slicer.vtkSegment) -> tuple[tuple[int, ...], np.ndarray] | None:
    """The extent of the layer that a segment lies in, and its labels (K, J, I), no copy; None when it has no voxels."""
    layer = segment.GetRepresentation(BINARY_LABELMAP)
    if layer is None or layer.IsEmpty():
        return None
    labels = vtk_to_numpy(layer.GetPointData().GetScalars()).reshape(layer.GetDimensions()[::-1])
    return tuple(layer.GetExtent()), labels


def _masked(layer: tuple[tuple[int, ...], np.ndarray] | None, label: int) -> tuple[tuple[int, ...], np.ndarray] | None:
    """The smallest extent that holds a label, and which voxels (K, J, I) of it do; None when there are none."""
    if layer is None:
        return None
    extent, labels = layer
    (box,) = boxes_of(labels, [label])
    if not box[0].stop:
        return None
    sides = zip(extent[::2], box[::-1], strict=True)
    return tuple(low + n for low, side in sides for n in (side.start, side.stop - 1)), labels[box] == label
