"""Metrics that are no mean over items: intervals of the metric itself."""

import math
import time

import numpy as np
import pytest

from harness.stats import paired_interval, paired_statistic_interval, statistic_interval


def mean(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] / sums[..., 1])


def perplexity(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(sums[..., 0] / sums[..., 1]))


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """Of two classes, from [hits, predicted, true] of each."""
    per_class = sums.reshape(*sums.shape[:-1], 2, 3)
    total = per_class[..., 1] + per_class[..., 2]
    return np.asarray((2 * per_class[..., 0] / np.where(total > 0, total, 1)).mean(axis=-1))


def f1_rows(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.column_stack(
        [part for c in (0, 1) for part in ((predicted == c) & (true == c), predicted == c, true == c)]
    ).astype(float)


def labels(rng: np.random.Generator, n: int, right: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two runs that are right on the same share of items, a fifth of them of the rarer class."""
    true = (rng.random(n) < 0.2).astype(int)
    return tuple(f1_rows(np.where(rng.random(n) < right, true, 1 - true), true) for _ in range(2))


def counted(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x, np.ones(len(x))])


@pytest.mark.parametrize("factor", [1.0, 0.9])
@pytest.mark.parametrize("clustered", [False, True])
def test_a_mean_written_as_a_ratio_has_the_interval_of_the_mean(factor, clustered):
    a, b = np.random.default_rng(1).random((2, 120))
    clusters = [i // 4 for i in range(120)] if clustered else None
    got = paired_statistic_interval(counted(a), counted(b), mean, clusters, factor=factor, limits=(0, 1))
    want = paired_interval(a, b, clusters, factor=factor)
    assert (got.value, got.low, got.high) == pytest.approx((want.value, want.low, want.high), abs=1e-9)
    assert got.method == want.method


def test_macro_f1_of_equal_runs_is_covered():
    hits = 0
    for trial in range(120):
        a, b = labels(np.random.default_rng(trial), 60)
        got = paired_statistic_interval(a, b, macro_f1, limits=(0, 1))
        hits += got.low <= 0 <= got.high
    assert hits / 120 >= 0.92


@pytest.mark.parametrize("n", [10, 50])
def test_perplexity_is_covered_at_few_items(n):
    hits = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        tokens = rng.integers(5, 50, n).astype(float)
        rows = np.column_stack([tokens * rng.gamma(4, 0.25, n), tokens])
        got = statistic_interval(rows, perplexity, limits=(1, math.inf))
        hits += got.low <= math.e <= got.high
    assert hits / 200 >= 0.90


@pytest.mark.parametrize("n", [3, 10])
def test_a_handful_of_identical_runs_is_not_certain(n):
    a, _ = labels(np.random.default_rng(2), n)
    got = paired_statistic_interval(a, a, macro_f1, limits=(0, 1))
    assert got.low < -0.2
    assert got.high > 0.2


def test_perfect_runs_without_limits_have_no_interval():
    rows = counted(np.full(10, 2.0))
    got = paired_statistic_interval(rows, rows, perplexity)
    assert (got.value, got.low, got.high, got.method) == (0.0, None, None, "constant")


def test_where_less_is_better_a_lower_candidate_is_ahead():
    rng = np.random.default_rng(3)
    worse = rng.random(200) + 1
    a, b = counted(worse - 0.3), counted(worse)
    ahead = paired_statistic_interval(a, b, perplexity, higher_is_better=False)
    behind = paired_statistic_interval(a, b, perplexity)
    assert ahead.low > 0
    assert (ahead.low, ahead.high) == pytest.approx((-behind.high, -behind.low), abs=1e-6)
    kept = paired_statistic_interval(a, b, perplexity, factor=1.02, higher_is_better=False)
    assert kept.value == pytest.approx(1.02 * math.exp(worse.mean()) - math.exp(worse.mean() - 0.3))


def test_limits_bound_the_difference():
    a, b = labels(np.random.default_rng(4), 4)
    got = paired_statistic_interval(a, b, macro_f1, limits=(0, 1), factor=0.5)
    assert -0.5 <= got.low <= got.high <= 1


def test_a_metric_that_one_item_makes_or_breaks_is_undefined():
    rows = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    got = statistic_interval(rows, mean)
    assert (got.value, got.low, got.high, got.method) == (3.0, None, None, "undefined")


def test_no_items_and_one_item_give_no_ends():
    for n in (0, 1):
        rows = np.ones((n, 2))
        for got in (statistic_interval(rows, mean), paired_statistic_interval(rows, rows, mean)):
            assert (got.low, got.high, got.n) == (None, None, n)


@pytest.mark.parametrize(
    ("rows", "message"), [(np.ones(3), "one row"), (np.array([[1.0], [math.nan]]), "not finite in item 1")]
)
def test_rows_that_are_no_table_of_numbers_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        statistic_interval(rows, mean)


def test_unequal_runs_and_senseless_factors_are_refused():
    with pytest.raises(ValueError, match="pairs"):
        paired_statistic_interval(np.ones((3, 2)), np.ones((4, 2)), mean)
    with pytest.raises(ValueError, match="factor"):
        paired_statistic_interval(np.ones((3, 2)), np.ones((3, 2)), mean, factor=0)


def test_a_hundred_thousand_items_are_no_matter_of_minutes():
    a, b = labels(np.random.default_rng(5), 100_000)
    started = time.process_time()
    got = paired_statistic_interval(a, b, macro_f1, [i // 3 for i in range(100_000)], limits=(0, 1))
    assert time.process_time() - started < 30  # of CPU, for half a second: slow machines have room, squares have not
    assert got.method == "cluster-t+bca"
    assert got.high - got.low < 0.03
