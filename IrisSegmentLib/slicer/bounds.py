"""The box around a box that was moved."""

from __future__ import annotations

from itertools import product

import numpy as np
import vtk
from numpy.typing import ArrayLike


def boundsOf(
    low: ArrayLike, high: ArrayLike, *steps: np.ndarray | vtk.vtkAbstractTransform
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest coordinates, (3,) each, of the corners of a box after some steps, (4, 4) or a
    transform. All of the box is between them unless a transform bends it.

    Example::

        low, high = boundsOf((0, 0, 0), (9, 9, 9), indexToWorld, worldToOtherIndex)
    """
    places = np.array(list(product(*np.stack([low, high], 1))), float)
    for step in steps:
        if isinstance(step, np.ndarray):
            places = places @ step[:3, :3].T + step[:3, 3]
        else:
            places = np.array([step.TransformPoint(place) for place in places])
    return places.min(0), places.max(0)
