"""Masks that may overlap, packed into as few layers as they need in the order they come. In memory they lie slice by
slice (K slowest), as DICOM gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..volume import box_of


class Layers:
    """
    :param shape: (I, J, K).
    :param largest: label.
    """

    def __init__(self, shape: tuple[int, int, int], largest: int) -> None:
        self._shape, self._type = shape, np.uint8 if largest < 256 else np.uint16
        self._layers = [self._empty()]

    def add(self, mask: NDArray[np.bool_], label: int) -> int:
        """Put a mask (I, J, K) into the first layer that has room for it; returns which."""
        box = box_of(mask)
        inside = mask[box]
        free = (n for n, layer in enumerate(self._layers) if not np.logical_and(layer[box], inside).any())
        number = next(free, len(self._layers))
        if number == len(self._layers):
            self._layers.append(self._empty())
        self._layers[number][box][inside] = label
        return number

    def array(self) -> NDArray:
        """(L, I, J, K)."""
        if len(self._layers) == 1:
            return self._layers[0][None]
        return np.stack([layer.transpose(2, 1, 0) for layer in self._layers]).transpose(0, 3, 2, 1)

    def _empty(self) -> NDArray:
        return np.zeros(self._shape[::-1], self._type).transpose(2, 1, 0)
