"""What knowing nothing gives: the reference's mask copied over after aligning the two boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..imaging.orientation import Orientation
from ..imaging.volume import Segmentation, Volume


def copied_labels(reference: Segmentation, target: Volume) -> NDArray[np.uint8]:
    """The reference's segments stretched from its scan's box onto the target's, axis by axis in the canonical
    orientation, nearest neighbor: labels (I, J, K) on the target's voxels, 1 + the segment's place in the list."""
    source, goal = Orientation.of(reference.affine), Orientation.of(target.affine)
    labels = np.zeros(reference.shape, np.uint8)
    for n in range(len(reference.segments)):
        labels[reference.mask(n)] = n + 1
    canonical = source.to_canonical(labels)
    shape = tuple(target.shape[n] for n in goal.order)
    index = [((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, canonical.shape, strict=True)]
    return np.ascontiguousarray(goal.from_canonical(canonical[np.ix_(*index)]))
