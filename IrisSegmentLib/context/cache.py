"""Nothing is encoded twice: embeddings kept under the hash of everything that they depend on."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from ..imaging.volume import Segmentation, Volume
from .preset import Reference

FEW = 4  # planes of a scan that are turned at once
KEPT = 128  # references in memory, a few hundred kB each


def content_hash(image: Volume, segmentation: Segmentation, network: str, preprocessing: int) -> str:
    """sha256 of the voxels, the grid, the masks, the network and the preprocessing; names do not enter."""
    digest = hashlib.sha256(f"{network} {preprocessing}".encode())
    for array in (image.array, image.affine, segmentation.layers, segmentation.affine):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(_in_order(array).data)
    digest.update(str([(s.layer, s.label) for s in segmentation.segments]).encode())
    return digest.hexdigest()


def _in_order(array: NDArray) -> NDArray:
    """The array as its indices run. Scans lie in memory the other way round: turned as a whole, they would be fetched
    many times over."""
    if array.ndim < 3 or array.flags.c_contiguous:
        return np.ascontiguousarray(array)
    turned = np.empty(array.shape, array.dtype)
    for start in range(0, array.shape[-2], FEW):
        part = (..., slice(start, start + FEW), slice(None))
        turned[part] = array[part]
    return turned


class EmbeddingCache:
    """The latest references by content hash, in memory; the oldest gives way."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Reference] = OrderedDict()

    def get(self, key: str) -> Reference | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: str, reference: Reference) -> None:
        self._kept[key] = reference
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
