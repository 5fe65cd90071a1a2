"""One orientation for every scan: axes permuted and flipped to run as nearly as they can to right, anterior, superior.

Only whole axes are exchanged and turned, never resampled. So how a file happens to store a scan (order and direction
of its axes) does not matter, and a small rigid motion of the patient does not either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """How stored axes (I, J, K) become canonical axes (R, A, S).

    :param order: canonical axis ``n`` is the stored axis ``order[n]``.
    :param flipped: whether canonical axis ``n`` then runs backwards.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def of(cls, affine: NDArray[np.float64]) -> Orientation:
        """The orientation of a grid with this (4, 4) index-to-RAS affine."""
        axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        # Rounded, so that a tie between two axes (45 degrees) does not hang on the last bit of a header.
        closeness = np.abs(axes).round(6)
        order = max(permutations(range(3)), key=lambda p: sum(closeness[n, p[n]] for n in range(3)))
        return cls(order, tuple(bool(axes[n, order[n]] < 0) for n in range(3)))  # type: ignore[arg-type]

    def to_canonical(self, array: NDArray) -> NDArray:
        """View of (..., I, J, K) as (..., R, A, S)."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + n for n in self.order))
        return turned[self._turns()]

    def from_canonical(self, array: NDArray) -> NDArray:
        """View of (..., R, A, S) as (..., I, J, K)."""
        lead = array.ndim - 3
        straight = array[self._turns()]
        return straight.transpose(*range(lead), *(lead + n for n in np.argsort(self.order)))

    def box_to_canonical(self, box: Sequence[slice], shape: Sequence[int]) -> tuple[slice, slice, slice]:
        """A box of stored indices as one of canonical indices.

        :param shape: of the scan along R, A, S.
        """
        sides = []
        for axis, (stored, flipped) in enumerate(zip(self.order, self.flipped, strict=True)):
            side = box[stored]
            sides.append(slice(shape[axis] - side.stop, shape[axis] - side.start) if flipped else side)
        return (sides[0], sides[1], sides[2])

    def _turns(self) -> Any:
        return (..., *(slice(None, None, -1 if f else 1) for f in self.flipped))
