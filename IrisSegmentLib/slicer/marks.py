"""What is marked in a scan: segments of a node on the voxels of a volume, put there by whoever has the time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import IrisError
from ..imaging.volume import Segment, Segmentation, VoxelBox, boxes_of
from .bounds import boundsOf
from .nodes import affineOfNode, worldOf

PIECE_SECONDS = 0.002  # what is resampled at once: Python's lock is held as long, and the application waits for it
FIRST_PIECE = 8_000  # voxels of it, until it is known how long they take


@dataclass(frozen=True)
class _Layer:
    """Voxels that segments share.

    :param image: of the scene, for its time alone; own: the same voxels under an image that is nobody else's.
    :param onGrid: whether its voxels are the volume's, but for its extent.
    """

    image: slicer.vtkOrientedImageData
    time: int
    own: slicer.vtkOrientedImageData
    onGrid: bool

    @property
    def labels(self) -> np.ndarray:
        """(K, J, I) as they lie in memory, no copy."""
        shape = self.own.GetDimensions()[::-1]
        return vtk_to_numpy(self.own.GetPointData().GetScalars()).reshape(shape)

    @property
    def low(self) -> np.ndarray:
        """The first voxel, K, J, I."""
        return np.array(self.own.GetExtent()[4::-2])


class Marks:
    """Segments as they are now. Made on the main thread within a millisecond; `segmentation` is for any thread, since
    it touches nothing of the scene but voxels.

    Wherever parent transforms put the two, a segment is where it is seen, nearest neighbor.

    :raises IrisError: when the segments have no voxels and none can be made.

    Example::

        marks = Marks(segmentationNode, volumeNode, segmentIDs)
        segmentation = marks.segmentation()   # elsewhere
        marks.check()                         # here again
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentIDs: Sequence[str],
    ) -> None:
        segmentation = segmentationNode.GetSegmentation()
        voxels = segmentation.ContainsRepresentation("Binary labelmap")
        if not voxels and not segmentationNode.CreateBinaryLabelmapRepresentation():
            raise IrisError(f"'{segmentationNode.GetName()}' has no voxels; draw it in the Segment Editor first.")
        self._name, self._volumeName = segmentationNode.GetName(), volumeNode.GetName()
        self._affine, self._shape = affineOfNode(volumeNode), volumeNode.GetImageData().GetDimensions()
        self._volume, self._written = volumeNode, volumeNode.GetImageData().GetMTime()
        self._transform, self._straight = _transformBetween(segmentationNode, volumeNode)
        self._layers: list[_Layer] = []
        self._segments: list[tuple[Segment, int]] = []  # words and label in their layer; the layer's place
        self._stopped = False
        for segmentID in segmentIDs:
            segment = segmentation.GetSegment(segmentID)
            words = segment.GetName(), segment.GetColor(), segment.GetTerminology() or ""
            self._segments.append((Segment(*words, 0, segment.GetLabelValue()), self._layerOf(segment)))

    def segmentation(self) -> Segmentation:
        """Segments share a layer unless they overlap.

        :raises IrisError: when one is empty on the volume's voxels.
        """
        return self._segmentation

    def check(self) -> None:
        """Once they and the scan are read. :raises IrisError: when voxels of either were written to meanwhile, as a
        person may who goes on: some may be old, some new."""
        image = self._volume.GetImageData()
        if image is not None and image.GetMTime() != self._written:
            raise IrisError(f"'{self._volumeName}' was changed while it was being learned from; start again.")
        if any(layer.image.GetMTime() != layer.time for layer in self._layers):
            raise IrisError(f"'{self._name}' was changed while it was being learned from; start again.")
        self._layers = []  # what is read is kept, so that changes are no matter any more

    def stop(self) -> None:
        """Nobody wants them any more."""
        self._stopped = True

    def _layerOf(self, segment: slicer.vtkSegment) -> int:
        image = segment.GetRepresentation("Binary labelmap")
        for number, layer in enumerate(self._layers):
            if layer.image is image:
                return number
        own = slicer.vtkOrientedImageData()
        own.ShallowCopy(image)
        onGrid = self._transform is None and slicer.vtkOrientedImageDataResample.DoGeometriesMatch(own, self._grid())
        self._layers.append(_Layer(image, image.GetMTime(), own, onGrid))
        return len(self._layers) - 1

    @cached_property
    def _segmentation(self) -> Segmentation:
        parts = [self._onGrid(number, layer) for number, layer in enumerate(self._layers)]
        found: list[np.ndarray] = []  # each (K, J, I)
        counts: list[int] = []  # of segments in each
        segments = []
        for (words, number), box in zip(self._segments, self._boxes(parts), strict=True):
            labels, low = parts[number]
            mask = labels[box] == words.label
            if not mask.size:
                raise IrisError(f"The segment '{words.name}' is empty on '{self._volumeName}'; draw it or untick it.")
            there = tuple(slice(s.start + n, s.stop + n) for s, n in zip(box, low, strict=True))
            place = next((n for n, taken in enumerate(found) if not taken[there][mask].any()), len(found))
            if place == len(found):
                found.append(np.zeros(self._shape[::-1], np.uint8 if len(self._segments) < 256 else np.uint16))
                counts.append(0)
            counts[place] += 1
            np.copyto(found[place][there], counts[place], where=mask, casting="unsafe")
            segments.append(Segment(words.name, words.color, words.terminology, place, counts[place]))
        layers = np.stack(found) if len(found) > 1 else found[0][None]
        return Segmentation(layers.transpose(0, 3, 2, 1), self._affine, tuple(segments), self._name)

    def _boxes(self, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[VoxelBox]:
        """Of each segment in its layer's part."""
        labels = [[words.label for words, layer in self._segments if layer == number] for number in range(len(parts))]
        found = [dict(zip(of, boxes_of(part, of), strict=True)) for of, (part, _low) in zip(labels, parts, strict=True)]
        return [found[number][words.label] for words, number in self._segments]

    def _onGrid(self, number: int, layer: _Layer) -> tuple[np.ndarray, np.ndarray]:
        """A layer's labels (K, J, I) on a part of the volume's voxels, and the first of these."""
        shape = np.array(self._shape[::-1])
        if layer.own.IsEmpty():
            return np.zeros((0, 0, 0), np.uint8), np.zeros(3, int)
        labels, low = layer.labels, layer.low
        if layer.onGrid:
            first, stop = low.clip(0, shape), (low + labels.shape).clip(0, shape)
            part = labels[tuple(slice(a, max(a, b)) for a, b in zip(first - low, stop - low, strict=True))]
            return part, first
        of = [words.label for words, place in self._segments if place == number]
        boxes = [box for box in boxes_of(labels, of) if box[0].stop]
        if not boxes:
            return np.zeros((0, 0, 0), np.uint8), np.zeros(3, int)
        first = low + [min(b[axis].start for b in boxes) for axis in range(3)]
        last = low + [max(b[axis].stop for b in boxes) - 1 for axis in range(3)]
        first, stop = self._reach(layer.own, first[::-1], last[::-1], shape)
        part = np.zeros((stop - first).clip(0), labels.dtype)
        self._resample(layer.own, part, first)
        return part, first

    def _reach(
        self, image: slicer.vtkOrientedImageData, first: np.ndarray, last: np.ndarray, shape: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The volume's voxels, K, J, I, that an image's voxels from ``first`` to ``last``, I, J, K, may lie on."""
        if not self._straight:
            return np.zeros(3, int), shape
        steps = (worldOf(image), self._transform, np.linalg.inv(self._affine))
        lowest, highest = boundsOf(first - 1, last + 1, *(step for step in steps if step is not None))
        low, stop = np.floor(lowest[::-1]).clip(0, shape), (np.ceil(highest[::-1]) + 1).clip(0, shape)
        return low.astype(int), np.maximum(low, stop).astype(int)

    def _resample(self, image: slicer.vtkOrientedImageData, part: np.ndarray, first: np.ndarray) -> None:
        """Fill a part of the volume's voxels, some rows at a time: others want Python's lock as well."""
        reslice = self._resliced(image)
        rows = max(1, FIRST_PIECE // max(1, part.shape[2]))
        for k in range(part.shape[0]):
            j = 0
            while j < part.shape[1]:
                if self._stopped:
                    raise IrisError("The work was stopped.")
                stop, began = min(j + rows, part.shape[1]), time.thread_time()
                ends = [(0, part.shape[2]), (j, stop), (k, k + 1)]
                extent = [int(n + low) for (a, b), n in zip(ends, first[::-1], strict=True) for low in (a, b - 1)]
                reslice.SetOutputExtent(extent)
                reslice.Update()
                values = vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars())
                part[k, j:stop] = values.reshape(stop - j, -1)
                taken = max(time.thread_time() - began, PIECE_SECONDS / 10)
                rows = max(1, min(part.shape[1], int(rows * min(2.0, PIECE_SECONDS / taken))))
                j = stop
                time.sleep(PIECE_SECONDS / 4)

    def _resliced(self, image: slicer.vtkOrientedImageData) -> vtk.vtkImageReslice:
        """An image on the volume's voxels, as Slicer's own resampling puts it there, but piece by piece."""
        toWorld, fromVolume = vtk.vtkMatrix4x4(), slicer.util.vtkMatrixFromArray(self._affine)
        image.GetImageToWorldMatrix(toWorld)
        fromVolume.Invert()
        transform = vtk.vtkGeneralTransform()
        transform.PostMultiply()
        for step in (toWorld, self._transform, fromVolume):
            if step is not None:
                transform.Concatenate(step)
        plain = vtk.vtkImageData()
        plain.SetExtent(image.GetExtent())
        plain.GetPointData().SetScalars(image.GetPointData().GetScalars())
        reslice = vtk.vtkImageReslice()
        reslice.SetInputData(plain)
        reslice.SetOutputOrigin(0, 0, 0)
        reslice.SetOutputSpacing(1, 1, 1)
        reslice.SetOutputScalarType(image.GetScalarType())
        reslice.SetBackgroundLevel(0)
        reslice.SetResliceTransform(transform.GetInverse())
        reslice.SetInterpolationModeToNearestNeighbor()
        reslice.SetEnableSMP(False)
        reslice.SetNumberOfThreads(1)  # waiting for others to begin would take longer than the work
        return reslice

    def _grid(self) -> slicer.vtkOrientedImageData:
        """The volume's voxels, as an image without values."""
        grid = slicer.vtkOrientedImageData()
        grid.SetDimensions(self._shape)
        grid.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(self._affine))
        return grid


def _transformBetween(
    source: slicer.vtkMRMLNode, target: slicer.vtkMRMLNode
) -> tuple[vtk.vtkAbstractTransform | None, bool]:
    """From the coordinates of one node to those of another, None when they share their parent transform, as it is now;
    and whether lines stay straight."""
    if source.GetTransformNodeID() == target.GetTransformNodeID():
        return None, True
    transform = vtk.vtkGeneralTransform()
    parents = source.GetParentTransformNode(), target.GetParentTransformNode()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*parents, transform)
    return _copied(transform), all(p is None or p.IsTransformToWorldLinear() for p in parents)


def _copied(transform: vtk.vtkAbstractTransform) -> vtk.vtkAbstractTransform:
    """A transform that does not change when the scene's do: a general one's own copy shares its parts."""
    transform.Update()  # an inverse knows nothing before
    if not transform.IsA("vtkGeneralTransform"):
        copy = transform.MakeTransform()
        copy.DeepCopy(transform)
        return copy
    whole = vtk.vtkGeneralTransform()
    whole.PostMultiply()
    for number in range(transform.GetNumberOfConcatenatedTransforms()):
        whole.Concatenate(_copied(transform.GetConcatenatedTransform(number)))
    return whole
