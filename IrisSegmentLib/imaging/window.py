"""The network's view of a scan: a grid of equal steps over all of it (coarse) or around a place (fine), and back again.

A window lives in the canonical orientation and measures in millimetres from the scan's first voxel; direction and
origin of the header never enter. Sampling is linear and separable: one small matrix per axis, whose rows widen into a
triangle filter when the window is coarser than the scan, so that thin things fade rather than vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .box import Box
from .intensity import Intensity
from .orientation import Orientation
from .volume import Segmentation, Volume

# Raise when what the network sees or what is kept of it changes, here, in intensity.py, in engine's looks.py and
# inputs.py or in network's alignment.py: presets and caches carry it.
PREPROCESSING = 5
MULTIPLE = 16  # the network's deepest stride
SMALLEST = 32  # cells per axis: the deepest level keeps two
SLAB = 32_000_000  # numbers held at once when a result is pasted
BLOCK = 2**19  # voxels of a scan that are read at once: few enough to stay in a core's cache


@dataclass(frozen=True)
class Window:
    """A grid of cells over one scan.

    :param scan_shape: voxels of the scan along R, A, S; ``scan_spacing`` their size in mm.
    :param origin: center of the first cell in mm; ``step`` the size of a cell in mm, the same along every axis.
    :param shape: cells (D, H, W) along R, A, S; multiples of 16.

    Example::

        window = Window.whole_scan(volume, cells=64)
        image = window.sample_image(volume)                        # (1, 1, D, H, W)
        labels = window.paste(network.segment(image, embeddings))  # (I, J, K) on the volume's own voxels
    """

    orientation: Orientation
    scan_shape: tuple[int, int, int]
    scan_spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    step: float
    shape: tuple[int, int, int]

    @classmethod
    def whole_scan(cls, scan: Volume | Segmentation, cells: int = 64) -> Window:
        """The whole scan, with ``cells`` cells along its longest side."""
        _, shape, spacing = _canonical_grid(scan)
        box = Box(
            tuple(-s / 2 for s in spacing),  # type: ignore[arg-type]
            tuple(s * (n - 0.5) for s, n in zip(spacing, shape, strict=True)),  # type: ignore[arg-type]
        )
        return cls.over(scan, box, cells)

    @classmethod
    def over(cls, scan: Volume | Segmentation, box: Box, cells: int = 64) -> Window:
        """The box, with ``cells`` cells along its longest side; no finer than half the scan's finest voxel."""
        orientation, shape, spacing = _canonical_grid(scan)
        low, high = np.array(box.low), np.array(box.high)
        step = float(f"{max((high - low).max() / cells, min(spacing) / 2):.6g}")
        grid = [max(SMALLEST, MULTIPLE * int(np.ceil(n / MULTIPLE - 1e-3))) for n in (high - low) / step]
        origin = (low + high) / 2 - (np.array(grid) - 1) / 2 * step
        return cls(orientation, shape, spacing, tuple(origin.tolist()), step, tuple(grid))  # type: ignore[arg-type]

    def box_of(self, mask: Tensor, margin: float = 1.3) -> Box | None:
        """Box in mm around the cells of ``mask`` (D, H, W), ``margin`` times as wide, or None when there are none."""
        found = [torch.nonzero(mask.flatten(1).any(1) if n == 0 else mask.movedim(n, 0).flatten(1).any(1)).flatten()
                 for n in range(3)]
        if any(len(f) == 0 for f in found):
            return None
        low = [o + self.step * (float(f[0]) - 0.5) for o, f in zip(self.origin, found, strict=True)]
        high = [o + self.step * (float(f[-1]) + 0.5) for o, f in zip(self.origin, found, strict=True)]
        return Box(tuple(low), tuple(high)).widened(margin)  # type: ignore[arg-type]

    def sample_image(self, volume: Volume, intensity: Intensity | None = None) -> Tensor:
        """The scan's intensities, normalized, at the window's cells: (1, 1, D, H, W). Outside the scan: its lowest."""
        canonical = self.orientation.to_canonical(volume.array)
        intensity = intensity or Intensity.of(canonical)
        weights, spans = zip(*(self._weights_from_scan(n) for n in range(3)), strict=True)

        def read(block: NDArray) -> NDArray[np.float32]:
            values = intensity.apply(block)
            values -= np.float32(intensity.background)
            return values

        return (_contracted(canonical[spans], weights, read) + intensity.background)[None, None]

    def sample_masks(self, segmentation: Segmentation) -> Tensor:
        """How much of each cell each segment fills, 0 to 1: (K, D, H, W). Only the boxes around the segments are read:
        a large scan with many classes would take minutes."""
        layers = [self.orientation.to_canonical(layer) for layer in segmentation.layers]
        weights, spans = zip(*(self._weights_from_scan(n) for n in range(3)), strict=True)
        masks = torch.zeros(len(segmentation.segments), *self.shape)
        for mask, segment, stored in zip(masks, segmentation.segments, segmentation.boxes, strict=True):
            box = self.orientation.box_to_canonical(stored, self.scan_shape)
            shown = tuple(
                slice(max(b.start, s.start), max(b.start, s.start, min(b.stop, s.stop)))
                for b, s in zip(box, spans, strict=True)
            )
            near = [w[:, b.start - s.start : b.stop - s.start] for w, b, s in zip(weights, shown, spans, strict=True)]
            if all(b.stop > b.start for b in shown):
                mask += _contracted(layers[segment.layer][shown], near, partial(np.equal, segment.label))
        return masks

    def paste(self, logits: Tensor) -> NDArray[np.uint8]:
        """Labels (I, J, K) on the scan's own voxels: `paste` of this window alone."""
        return paste([(self, logits)])

    def center_of(self, weights: Tensor) -> tuple[float, float, float] | None:
        """Center of mass, in mm, of weights (D, H, W) at the window's cells, or None when there is none."""
        total = float(weights.sum())
        if total <= 0:
            return None
        sums = (weights.sum([n for n in range(3) if n != axis]) for axis in range(3))
        return tuple(  # type: ignore[return-value]
            o + self.step * float((s * torch.arange(len(s))).sum()) / total
            for o, s in zip(self.origin, sums, strict=True)
        )

    def at(self, place: Sequence[float]) -> tuple[float, float, float]:
        """In mm, a place that is told from the window's middle, in half lengths of its longest side."""
        half = max(self.shape) * self.step / 2
        return tuple(  # type: ignore[return-value]
            o + self.step * (n - 1) / 2 + half * p for o, n, p in zip(self.origin, self.shape, place, strict=True)
        )

    @property
    def extent(self) -> tuple[float, float, float]:
        """Size in mm along R, A, S."""
        return tuple(n * self.step for n in self.shape)  # type: ignore[return-value]

    def seen_from(self, other: Window, values: Tensor) -> Tensor:
        """Values (K, D, H, W) at this window's cells, brought to the cells of another window of the same scan; cells
        beyond this window take the value of its rim."""
        weights = []
        for n in range(3):
            places = other.origin[n] + other.step * np.arange(other.shape[n])
            weights.append(_interpolation((places - self.origin[n]) / self.step, self.shape[n]))
        return torch.einsum("kdhw,ad,bh,cw->kabc", values, *weights)

    def _weights_from_scan(self, axis: int) -> tuple[Tensor, slice]:
        """Matrix (cells, voxels) of one axis, and the voxels it reads. Voxels beyond the scan weigh nothing but
        count, so that what lies outside fades to the background."""
        voxel, count = self.scan_spacing[axis], self.scan_shape[axis]
        centers = (self.origin[axis] + self.step * np.arange(self.shape[axis])) / voxel
        width = max(1.0, self.step / voxel)
        first = max(0, int(np.floor(centers[0] - width)))
        last = min(count, int(np.ceil(centers[-1] + width)) + 1)
        span = slice(min(first, count), max(last, min(first, count)))
        reach = int(np.ceil(width)) + 1
        around = np.rint(centers)[:, None] + np.arange(-reach, reach + 1)
        total = np.clip(1 - np.abs(around - centers[:, None]) / width, 0, None).sum(1, keepdims=True)
        voxels = np.arange(span.start, span.stop)
        weights = np.clip(1 - np.abs(voxels[None] - centers[:, None]) / width, 0, None) / total
        return torch.from_numpy(weights.astype(np.float32)), span

    def _covered(self, axis: int) -> slice:
        """The scan's voxels whose centers lie within the window's cells."""
        low = self.origin[axis] - self.step / 2
        high = low + self.step * self.shape[axis]
        voxel, count = self.scan_spacing[axis], self.scan_shape[axis]
        start = min(max(0, int(np.ceil(low / voxel - 1e-6))), count)
        return slice(start, max(start, min(count, int(np.floor(high / voxel + 1e-6)) + 1)))

    def _reached(self, logits: Tensor) -> tuple[slice, slice, slice]:
        """The scan's voxels that may belong to a class of ``logits`` (K, D, H, W): between cells that pass 0 and their
        neighbors. The others need not be looked at."""
        reaches, passed = [], (logits > 0).any(0)
        for axis in range(3):
            covered, voxel = self._covered(axis), self.scan_spacing[axis]
            cells = torch.nonzero(passed.any(2 if axis < 2 else 1).any(1 if axis == 0 else 0)).flatten()
            if not len(cells):
                return (slice(0, 0),) * 3
            low, high = (self.origin[axis] + self.step * float(c) for c in (cells[0] - 1, cells[-1] + 1))
            start = max(covered.start, int(np.floor(low / voxel)))
            reaches.append(slice(start, max(start, min(covered.stop, int(np.ceil(high / voxel)) + 1))))
        return (reaches[0], reaches[1], reaches[2])

    def _weights_to_scan(self, axis: int, reach: slice) -> Tensor:
        """Matrix (voxels, cells) of linear interpolation."""
        places = np.arange(reach.start, reach.stop) * self.scan_spacing[axis] - self.origin[axis]
        return _interpolation(places / self.step, self.shape[axis])


def paste(looks: Sequence[tuple[Window, Tensor]]) -> NDArray[np.uint8]:
    """Labels (I, J, K) on a scan's own voxels: 0 where no class passes 0, else 1 + the likeliest class. Voxels whose
    center lies outside a window are none of its classes.

    :param looks: windows over the scan, each with the logits (K, D, H, W) of the next few classes.
    :raises ValueError: for more than 255 classes in all.
    """
    if sum(len(logits) for _, logits in looks) > 255:
        raise ValueError("a label map of one byte holds 255 classes")
    first = looks[0][0]
    reaches = [window._reached(logits) for window, logits in looks]
    shown = [reach for reach in reaches if all(side.stop > side.start for side in reach)]
    low = [min((reach[n].start for reach in shown), default=0) for n in range(3)]
    size = [max((reach[n].stop for reach in shown), default=0) - low[n] for n in range(3)]
    labels, best = np.zeros(first.scan_shape, np.uint8), np.zeros(size, np.float16)
    known = 0
    for (window, logits), reach in zip(looks, reaches, strict=True):
        inside = [r.stop - r.start for r in reach]
        if min(inside) > 0:
            to_scan = [window._weights_to_scan(n, reach[n]) for n in range(3)]
            # Neither what is between the axes nor what is on the voxels may be large, however many classes there are.
            columns = max(1, SLAB // max(1, len(logits) * window.shape[0] * inside[2]))
            for left in range(0, inside[1], columns):
                right = min(left + columns, inside[1])
                plane = torch.einsum("kdhw,bh->kdbw", logits.float(), to_scan[1][left:right])
                plane = torch.einsum("kdbw,cw->kdbc", plane, to_scan[2])
                rows = max(1, SLAB // max(1, len(logits) * (right - left) * inside[2]))
                across = slice(reach[1].start + left, reach[1].start + right)
                for start in range(0, inside[0], rows):
                    stop = min(start + rows, inside[0])
                    slab, index = torch.einsum("ad,kdbc->kabc", to_scan[0][start:stop], plane).max(0)
                    part = (slice(reach[0].start + start, reach[0].start + stop), across, reach[2])
                    before = best[tuple(slice(p.start - n, p.stop - n) for p, n in zip(part, low, strict=True))]
                    value = slab.numpy().astype(np.float16)
                    more = value > before
                    labels[part][more] = (index.numpy() + known + 1)[more]
                    before[more] = value[more]
        known += len(logits)
    return np.ascontiguousarray(first.orientation.from_canonical(labels))


def _contracted(part: NDArray, weights: Sequence[Tensor], read: Callable[[NDArray], NDArray]) -> Tensor:
    """Voxels (R, A, S) brought to cells by a matrix (cells, voxels) per axis, S before A before R however the scan is
    stored, so that the same numbers come out: (D, H, W).

    :param read: what to bring over of a block of voxels.
    """
    # Clones lie in memory where torch puts them: the last bit of a product hangs on where numpy's arrays happen to lie.
    size, (to_d, to_h, to_w) = part.shape, (w.clone(memory_format=torch.contiguous_format) for w in weights)
    lines = torch.empty(size[0], size[1], len(to_w))
    # Cut across the axis that leaves the longest pieces of memory whole: a scan is rarely stored with S innermost.
    axis = 0 if abs(part.strides[0]) > abs(part.strides[1]) else 1
    count = max(1, BLOCK // max(1, size[1 - axis] * size[2]))
    for start in range(0, size[axis], count):
        block = (slice(None),) * axis + (slice(start, start + count),)
        values = torch.from_numpy(np.ascontiguousarray(read(part[block]), np.float32)).clone()
        lines[block] = values @ to_w.T
    return torch.einsum("da,ahw->dhw", to_d, to_h @ lines)


def box_of_segments(segmentation: Segmentation, margin: float = 1.3) -> Box | None:
    """Box in mm around all voxels of all segments, ``margin`` times as wide, or None when all are empty."""
    orientation, shape, spacing = _canonical_grid(segmentation)
    boxes = [orientation.box_to_canonical(box, shape) for box in segmentation.boxes if box[0].stop]
    if not boxes:
        return None
    low = [(min(b[n].start for b in boxes) - 0.5) * spacing[n] for n in range(3)]
    high = [(max(b[n].stop for b in boxes) - 0.5) * spacing[n] for n in range(3)]
    return Box(tuple(low), tuple(high)).widened(margin)


def _interpolation(places: NDArray, cells: int) -> Tensor:
    """Matrix (places, cells) of linear interpolation; beyond the outermost cells, their values."""
    places = places.clip(0, cells - 1)
    weights = np.clip(1 - np.abs(places[:, None] - np.arange(cells)[None]), 0, None).astype(np.float32)
    return torch.from_numpy(weights).clone()  # as in `_contracted`


def _canonical_grid(
    scan: Volume | Segmentation,
) -> tuple[Orientation, tuple[int, int, int], tuple[float, float, float]]:
    """Orientation, shape and spacing along R, A, S. Spacing keeps six digits: a header that was rotated carries
    rounding errors, and the same scan must give the same voxels."""
    orientation = Orientation.of(scan.affine)
    shape = tuple(scan.shape[n] for n in orientation.order)
    spacing = tuple(float(f"{scan.spacing[n]:.6g}") for n in orientation.order)
    return orientation, shape, spacing  # type: ignore[return-value]
