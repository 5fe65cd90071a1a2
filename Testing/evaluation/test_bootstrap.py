import numpy as np
import pytest

from IrisSegmentLib.evaluation.bootstrap import interval, mean_over_classes, resampled_means


def test_the_interval_of_a_mean_is_the_textbooks_where_the_textbook_holds():
    """Many cases of one class: the percentile interval is mean +- 1.96 standard errors."""
    values = np.random.default_rng(1).normal(0.7, 0.1, (200, 1))
    error = values.std(ddof=1) / np.sqrt(200)
    low, high = interval(mean_over_classes(resampled_means(values, seed=0)), 200)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_it_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(2)
    hits = 0
    for n in range(150):
        low, high = interval(mean_over_classes(resampled_means(random.uniform(0, 1, (30, 1)), seed=n)), 30)
        hits += low <= 0.5 <= high
    assert 0.88 < hits / 150 <= 1


def test_classes_are_drawn_by_case_and_absent_ones_are_left_out():
    values = np.array([[0.2, 0.3], [0.4, np.nan], [0.9, 0.6]])
    draws = resampled_means(values, seed=3)
    assert draws.shape[1] == 2 and np.nanmax(draws[:, 1]) <= 0.6 and np.isnan(draws[:, 1]).any()
    together = mean_over_classes(draws)
    assert np.isfinite(together).all() and together.min() >= 0.2 and together.max() <= 0.75
    assert np.array_equal(draws, resampled_means(values, seed=3), equal_nan=True)
    # Both classes come from the same cases: drawn apart, the mean would spread less.
    twins = np.random.default_rng(4).uniform(0, 1, (40, 1)).repeat(2, 1)
    spread = mean_over_classes(resampled_means(twins, seed=0)).std()
    assert spread == pytest.approx(resampled_means(twins[:, :1], seed=0).std(), rel=1e-6)


def test_one_case_has_no_interval():
    assert interval(resampled_means(np.array([[0.5]]), seed=0)[:, 0], 1) is None
