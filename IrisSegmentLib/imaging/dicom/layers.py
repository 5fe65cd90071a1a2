"""Masks that may overlap, packed into as few layers as they need in the order they come."""

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
        self._type = np.uint8 if largest < 256 else np.uint16
        self._layers = [np.zeros(shape, self._type)]

    def add(self, mask: NDArray[np.bool_], label: int) -> int:
        """Put a mask (I, J, K) into the first layer that has room for it; returns which."""
        box = box_of(mask)
        inside = mask[box]
        free = (n for n, layer in enumerate(self._layers) if not layer[box][inside].any())
        number = next(free, len(self._layers))
        if number == len(self._layers):
            self._layers.append(np.zeros_like(self._layers[0]))
        self._layers[number][box][inside] = label
        return number

    def array(self) -> NDArray:
        """(L, I, J, K)."""
        return np.stack(self._layers)
