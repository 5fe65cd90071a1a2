"""Segments that this module makes: their voxels, their tags, and whether a person has touched them since."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .. import __version__
from ..imaging.volume import Segmentation, VoxelBox
from .tags import TAG, tagOf

if TYPE_CHECKING:
    from ..context.preset import Preset
    from ..engine import Result

FINGERPRINT = "Fingerprint"  # the tag by which a segment is known again
BINARY_LABELMAP = "Binary labelmap"


def labelmapOf(segmentation: Segmentation, number: int) -> slicer.vtkOrientedImageData:
    """One segment as an image no larger than it is, in the grid of the whole."""
    words, box = segmentation.segments[number], segmentation.boxes[number]
    part = segmentation.layers[words.layer][box].transpose(2, 1, 0) == words.label
    return _image(np.ascontiguousarray(part).view(np.uint8), _extent(box), segmentation.affine)


def _image(labels: np.ndarray, extent: tuple[int, ...], affine: np.ndarray) -> slicer.vtkOrientedImageData:
    image = slicer.vtkOrientedImageData()
    image.SetExtent(extent)
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    if labels.size:
        scalars = numpy_to_vtk(labels.ravel(), deep=True)
        scalars.SetName("ImageScalars")
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

    :param labels: (K, J, I) uint8, cut to what is not empty; extent: where that is, in the grid of the whole.
    :param signatures: per segment, what its voxels are known by.
    """

    labels: np.ndarray
    extent: tuple[int, ...]
    signatures: tuple[str, ...]

    @classmethod
    def of(cls, segmentation: Segmentation) -> Voxels:
        """:param segmentation: with one layer, as the engine gives it."""
        (layer,) = segmentation.layers
        boxes = [box for box in segmentation.boxes if box[0].stop]
        union = tuple(
            slice(min((b[n].start for b in boxes), default=0), max((b[n].stop for b in boxes), default=0))
            for n in range(3)
        )
        labels = np.ascontiguousarray(layer[union].transpose(2, 1, 0), np.uint8)
        signatures = tuple(
            _signature(_extent(box), layer[box].transpose(2, 1, 0) == words.label)
            for box, words in zip(segmentation.boxes, segmentation.segments, strict=True)
        )
        return cls(labels, _extent(union), signatures)  # type: ignore[arg-type]


def addSegments(node: slicer.vtkMRMLSegmentationNode, segmentation: Segmentation, voxels: Voxels) -> list[str]:
    """A result's segments as new ones of a node on the same voxels, in a layer that they share; returns their IDs."""
    image = _image(voxels.labels, voxels.extent, segmentation.affine)
    ids = []
    for words in segmentation.segments:
        segment = slicer.vtkSegment()
        segment.SetName(words.name)
        segment.SetColor(*words.color)
        segment.SetLabelValue(words.label)
        segment.AddRepresentation(BINARY_LABELMAP, image)
        node.GetSegmentation().AddSegment(segment)
        ids.append(node.GetSegmentation().GetSegmentIdBySegment(segment))
    return ids


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


def isEmpty(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> bool:
    """Whether a segment has no voxel."""
    return _voxels(node, segmentID) is None


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
    key, when = (node.GetID(), segmentID), _time(node.GetSegmentation().GetSegment(segmentID))
    if _seen.get(key, (-2, ""))[0] != when:
        voxels = _voxels(node, segmentID)
        mask = np.zeros(0, bool) if voxels is None else vtk_to_numpy(voxels.GetPointData().GetScalars()) > 0
        _seen[key] = (when, _signature(() if voxels is None else voxels.GetExtent(), mask))
    return _seen[key][1]


def _signature(extent: Sequence[int], mask: np.ndarray) -> str:
    """Of the voxels (K, J, I) in the smallest box that holds a segment."""
    value = zlib.crc32(str(tuple(extent)).encode() if mask.size else b"")
    return f"{zlib.crc32(np.ascontiguousarray(mask).ravel().data, value):08x}"


def _voxels(node: slicer.vtkMRMLSegmentationNode, segmentID: str) -> slicer.vtkOrientedImageData | None:
    """A segment's voxels, the image cut to them, or None when there are none."""
    labelmap, extent = slicer.vtkOrientedImageData(), [0] * 6
    node.GetBinaryLabelmapRepresentation(segmentID, labelmap)
    if labelmap.IsEmpty() or not slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(labelmap, extent):
        return None
    cut = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.CopyImage(labelmap, cut, extent)
    return cut
