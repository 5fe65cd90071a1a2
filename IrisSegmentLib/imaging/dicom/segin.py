"""A DICOM SEG as a segmentation: its frames put where they belong, overlapping segments in layers of their own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import IrisError
from ..volume import Segment, Segmentation, Volume
from .codes import DEFAULT, Terms, code_in, entry_of, rgb_of
from .grid import LPS_RAS, SAME_PLACE, UNEVEN, Affine, carried, directions, heights, tilt
from .headers import Slice, claim, damaged, library, pictures_in, quiet, text
from .layers import Layers

LARGEST = 2**32  # voxels
MOST = 2**12  # slices
GRAY = (0.5, 0.5, 0.5)  # of a segment without a color


def read_seg(path: Path, name: str, image: Volume | None) -> Segmentation:
    """
    :param image: the scan that it lies on. A file leaves out slices on which nothing was marked; with the scan they are
        there again. Default: from the first slice with a mark to the last.
    :raises IrisError: when the file is damaged, reaches beyond the scan, or its slices do not lie on a grid.
    """
    pydicom = library("pydicom")
    try:
        with quiet():
            data = pydicom.dcmread(path)
            frames = list(pictures_in(data, path))
            described = {int(item.SegmentNumber): item for item in data.SegmentSequence}
            pictures = _Pictures(data, len(frames))
            if pictures.labels:
                described.pop(int(data.get("PixelPaddingValue") or 0), None)  # the background
            segments = {number: _segment(item, number) for number, item in sorted(described.items())}
            shown = [0] * len(frames) if pictures.labels else _segments_shown(data)
    except Exception as error:  # of a stranger's bytes pydicom raises whatever they led it to
        raise damaged(path) from error
    if not frames or any(s.position is None or s.axes is None or s.spacing is None for s in frames):
        raise IrisError(f"'{name}' does not say where its slices lie in the patient; get it again.")
    affine, planes = _planes(frames, name, image)
    shape = (*frames[0].size, max(planes) + 1)
    if shape[2] > MOST or math.prod(shape) > LARGEST:
        raise IrisError(f"'{name}' reaches over {shape[2]} slices, which is more than fit; get it again.")
    layers, placed = Layers(shape, max(segments, default=1)), []
    frames_of = defaultdict(list)
    for n, number in enumerate(shown):
        frames_of[number].append(n)
    for number, segment in segments.items():
        mask = np.zeros(shape[::-1], bool)  # slice by slice in memory
        for n in range(len(frames)) if pictures.labels else frames_of[number]:
            picture = pictures[n]
            mask[planes[n]] |= picture == number if pictures.labels else picture != 0
        layer = layers.add(mask.transpose(2, 1, 0), number)
        placed.append(Segment(segment.name, segment.color, segment.terminology, layer, number))
    array = layers.array()
    if image is not None and (moved := carried(array, affine, image.affine, image.shape)) is not None:
        if tilt(affine) is None and np.count_nonzero(moved) != np.count_nonzero(array):
            raise IrisError(f"'{name}' reaches beyond '{image.name}'; give the scan that it was made on.")
        array, affine = moved, image.affine
    elif tilt(affine) is not None:
        raise IrisError(f"'{name}' was made on tilted slices; give the scan that it was made on with it.")
    return Segmentation(array, affine, tuple(placed), name)


class _Pictures:
    """Each frame (J, I) of a SEG: of a mask not 0 where the segment is, of a label map the segments' numbers."""

    def __init__(self, data: Any, count: int) -> None:
        self._shape = int(data.Rows), int(data.Columns)
        kind = str(data.SegmentationType)
        self.labels = kind == "LABELMAP"
        self._stored: NDArray
        self._packed = kind == "BINARY" and not data.file_meta.TransferSyntaxUID.is_compressed
        size = math.prod(self._shape)
        if self._packed:
            self._stored = np.frombuffer(data.PixelData, np.uint8)
            if len(self._stored) * 8 < count * size:
                raise ValueError("fewer voxels than the header says")
        else:
            if claim(data) > len(data.PixelData):
                raise ValueError("fewer voxels than the header says")
            self._stored = data.pixel_array.reshape(count, *self._shape)
            if kind == "FRACTIONAL":
                self._stored = self._stored >= int(data.MaximumFractionalValue) / 2

    def __getitem__(self, frame: int) -> NDArray:
        if not self._packed:
            return self._stored[frame]
        size = math.prod(self._shape)
        start, end = frame * size, (frame + 1) * size  # bits, that follow one another without a gap
        bits = np.unpackbits(self._stored[start // 8 : -(-end // 8)], bitorder="little")
        return bits[start % 8 : start % 8 + size].reshape(self._shape)


def _segments_shown(data: Any) -> list[int]:
    """By each frame."""
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    found = []
    for groups in data.PerFrameFunctionalGroupsSequence:
        own = groups.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        found.append(int(own[0].ReferencedSegmentNumber))
    return found


def _segment(item: Any, number: int) -> Segment:
    """The words of a segment."""
    category = code_in(item, "SegmentedPropertyCategoryCodeSequence")
    kind = code_in(item, "SegmentedPropertyTypeCodeSequence")
    terms = DEFAULT
    if category is not None and kind is not None:
        region = item.get("AnatomicRegionSequence")
        terms = Terms(
            category, kind,
            code_in(item.SegmentedPropertyTypeCodeSequence[0], "SegmentedPropertyTypeModifierCodeSequence"),
            code_in(item, "AnatomicRegionSequence"),
            code_in(region[0], "AnatomicRegionModifierSequence") if region else None,
        )  # fmt: skip
    lab = item.get("RecommendedDisplayCIELabValue")
    color = rgb_of(lab) if lab else GRAY
    return Segment(text(item.get("SegmentLabel")) or f"Segment_{number}", color, entry_of(terms), label=number)


def _planes(frames: Sequence[Slice], name: str, image: Volume | None) -> tuple[Affine, list[int]]:
    """The grid of the frames, with slices that were left out, and which slice (k) each frame is.

    :raises IrisError: when they do not lie on a grid.
    """
    high = heights(frames)
    first, last = frames[int(high.argmin())], frames[int(high.argmax())]
    assert first.axes is not None and first.spacing is not None
    row, column, normal = directions(first.axes)
    rise = np.sort(high - high.min())
    gaps = np.diff(rise)
    # How far apart slices are: in the scan, as the file says, or else as near as two of them come.
    steps = [] if image is None else [
        float(abs(axis @ normal)) for axis in (LPS_RAS @ image.affine)[:3, :3].T
        if abs(axis @ normal) > 0.9 * np.linalg.norm(axis)
    ]  # fmt: skip
    steps += [first.thickness, *gaps[gaps > SAME_PLACE][:1], 1.0]
    fitting = (s for s in steps if s > SAME_PLACE and np.abs(rise / s - np.rint(rise / s)).max() <= UNEVEN)
    step = next(fitting, None)
    if step is None:
        raise IrisError(f"The slices of '{name}' are not evenly spaced; make it on an even grid.")
    planes = np.rint((high - high.min()) / step).clip(0, 2**31).astype(int)
    up = normal * step
    if planes.any():
        up = (np.array(last.position) - np.array(first.position)) / planes.max()
    even = np.array(first.position) + planes[:, None] * up
    if np.abs(np.array([s.position for s in frames]) - even).max() > UNEVEN * step:
        raise IrisError(f"The slices of '{name}' do not lie on a grid; make it on an even grid.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * first.spacing[0], column * first.spacing[1], up
    affine[:3, 3] = first.position
    return LPS_RAS @ affine, planes.tolist()
