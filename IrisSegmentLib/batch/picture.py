"""A small picture of a result: the axial slice that shows most of it, with the segments outlined; PNG by hand, for it
must not need a plotting library in every actor."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from ..imaging.orientation import Orientation
from ..imaging.volume import Segmentation, Volume

SIDE = 144  # pixels of the longer side
GRAYS = 48  # fewer shades make smaller files
PERCENTILES = (1, 99)


def picture_of(image: Volume, segmentation: Segmentation) -> bytes:
    """
    :param segmentation: of one layer, on the image's voxels, labeled 1, 2, ... in the order of its segments.
    """
    turned = Orientation.of(image.affine)
    labels = turned.to_canonical(segmentation.layers[0])  # (R, A, S)
    areas = (labels > 0).sum((0, 1))
    height = int(areas.argmax()) if areas.any() else labels.shape[2] // 2
    # Rows run from anterior to posterior, columns from the patient's right to the left, as slice views show them.
    shown = np.nan_to_num(turned.to_canonical(image.array)[::-1, ::-1, height].T.astype(np.float32))
    drawn = labels[::-1, ::-1, height].T
    spacing = [image.spacing[axis] for axis in turned.order]
    rows, columns = _places(shown.shape, (spacing[1], spacing[0]))
    shown, drawn = shown[np.ix_(rows, columns)], drawn[np.ix_(rows, columns)]
    low, high = np.percentile(shown, PERCENTILES)
    pixels = (GRAYS - 1) * ((shown - low) / max(float(high - low), 1e-6)).clip(0, 1)
    pixels = np.where(_rim(drawn), GRAYS - 1 + np.minimum(drawn, 255 - GRAYS).astype(np.uint8), pixels.round())
    colors = [tuple(round(255 * c) for c in s.color) for s in segmentation.segments[: 255 - GRAYS]]
    grays = [(round(255 * n / (GRAYS - 1)),) * 3 for n in range(GRAYS)]
    return _png(pixels.astype(np.uint8), np.array([*grays, *colors], np.uint8))


def _places(shape: tuple[int, ...], spacing: tuple[float, float]) -> list[NDArray[np.intp]]:
    """Along each axis the indices to show, so that a millimeter is the same both ways; nearest neighbors."""
    sizes = [count * step for count, step in zip(shape, spacing, strict=True)]
    counts = [max(1, round(SIDE * size / max(sizes))) for size in sizes]
    return [((np.arange(m) + 0.5) * n / m).astype(np.intp) for n, m in zip(shape, counts, strict=True)]


def _rim(labels: NDArray) -> NDArray[np.bool_]:
    """The pixels of a segment that touch others."""
    wide = np.pad(labels, 1)
    inside = np.ones(labels.shape, bool)
    for axis in (0, 1):
        for shift in (-1, 1):
            inside &= np.roll(wide, shift, axis)[1:-1, 1:-1] == labels
    return (labels > 0) & ~inside


def _png(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """
    :param pixels: (H, W), places in the palette (N, 3) of red, green, blue.
    """
    height, width = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1).tobytes()  # no filter in any line

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"PLTE", palette.tobytes()) + chunk(b"IDAT", zlib.compress(lines, 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")
