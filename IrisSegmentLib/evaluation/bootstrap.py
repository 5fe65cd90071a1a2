"""How sure a mean is: 95 % percentile intervals of a bootstrap over cases (Efron, 1979), seeded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000

Interval = list[float]  # low and high, as JSON gives it back


def resampled_means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Means per class over cases drawn anew, with replacement: (resamples, classes).

    :param values: (cases, classes); NaN where a case does not show a class. A draw in which no case shows a class gives
        NaN for it.
    """
    cases = len(values)
    times = np.random.default_rng(seed).multinomial(cases, np.full(cases, 1 / cases), RESAMPLES).astype(np.float64)
    shown = ~np.isnan(values)
    with np.errstate(invalid="ignore"):  # 0 / 0, where no case shows a class
        return (times @ np.where(shown, values, 0.0)) / (times @ shown)


def mean_over_classes(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """(resamples, classes) to (resamples,), over the classes that a draw shows."""
    shown = ~np.isnan(means)
    return np.where(shown, means, 0.0).sum(1) / shown.sum(1).clip(1)


def interval(resampled: NDArray[np.float64], cases: int) -> Interval | None:
    """The middle 95 % of resampled means, or None for fewer than two cases: one case says nothing of the spread.

    With few cases (below about ten) such an interval is too narrow; say how many there were.
    """
    if cases < 2:
        return None
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return [float(low), float(high)]
