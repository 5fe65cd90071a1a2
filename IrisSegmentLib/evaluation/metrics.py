"""Agreement of a segmentation with a manual one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|), 0..1; two empty masks agree."""
    total = int(found.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2.0 * int((found & truth).sum()) / total
