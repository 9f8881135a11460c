"""Quantiles: exact alone, honest in pairs, silent where items are too few."""

import time

import numpy as np
import pytest

from harness.stats import paired_quantile_interval, quantile_interval


def latencies(rng: np.random.Generator, n: int, shared: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Two runs alike in distribution; long questions are slow for both."""
    length = rng.normal(size=n)
    own = rng.normal(size=(2, n))
    a, b = np.exp(shared * length + np.sqrt(1 - shared**2) * own)
    return a, b


@pytest.mark.parametrize(("n", "q"), [(20, 0.5), (100, 0.95), (400, 0.95)])
@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_the_difference_of_equal_quantiles_is_covered(n, q, shared):
    hits = 0
    for trial in range(400):
        got = paired_quantile_interval(*latencies(np.random.default_rng(trial), n, shared), q)
        hits += got.low <= 0 <= got.high
    assert hits / 400 >= 0.925


def test_runs_that_move_together_are_told_apart_with_fewer_items():
    widths = []
    for shared in (0.0, 0.95):
        got = paired_quantile_interval(*latencies(np.random.default_rng(1), 2000, shared), 0.5)
        widths.append(got.high - got.low)
    assert widths[1] < 0.7 * widths[0]


def test_an_end_beyond_the_items_is_unknown():
    x = np.random.default_rng(2).random(71)
    assert quantile_interval(x, 0.95).high is None
    assert quantile_interval(x, 0.95).low is not None
    assert quantile_interval([*x, 0.5], 0.95).high is not None
    assert quantile_interval(x[:5], 0.5).low is None


def test_a_pair_is_unknown_where_either_side_is():
    a, b = latencies(np.random.default_rng(3), 71)
    got = paired_quantile_interval(a, b, 0.95)
    assert (got.low, got.high) == (None, None)
    assert got.value == pytest.approx(np.quantile(a, 0.95) - np.quantile(b, 0.95))


def test_identical_runs_are_not_certain():
    a, _ = latencies(np.random.default_rng(4), 12)
    got = paired_quantile_interval(a, a, 0.5)
    assert got.low < 0 < got.high


def test_outputs_that_are_all_alike_have_no_interval():
    for got in (quantile_interval([3.0] * 50, 0.5), paired_quantile_interval([3.0] * 50, [3.0] * 50, 0.5)):
        assert (got.low, got.high, got.method) == (None, None, "constant")


def test_a_run_that_never_varies_can_be_compared_with_one_that_does():
    a, _ = latencies(np.random.default_rng(9), 100)
    got = paired_quantile_interval([1.0] * 100, a, 0.5)
    alone = quantile_interval(a, 0.5)
    assert (got.low, got.high) == pytest.approx((1 - alone.high, 1 - alone.low))


def test_the_estimate_lies_between_the_ends_at_any_level():
    x = np.random.default_rng(10).random(31)
    for confidence in (0.1, 0.5, 0.95):
        for q in (0.2, 0.5, 0.8):
            got = quantile_interval(x, q, confidence=confidence)
            assert got.low <= got.value <= got.high


def test_clusters_count_for_fewer_items():
    rng = np.random.default_rng(5)
    x = np.repeat(rng.random(60), 10)
    labels = np.repeat(np.arange(60), 10).tolist()
    plain, clustered = quantile_interval(x, 0.5), quantile_interval(x, 0.5, labels)
    assert clustered.high - clustered.low > 2 * (plain.high - plain.low)
    assert quantile_interval(x, 0.99).high is not None
    assert quantile_interval(x, 0.99, labels).high is None


def test_clustered_quantiles_are_covered():
    hits = pairs = 0
    for trial in range(250):
        rng = np.random.default_rng(trial)
        shift = rng.normal(size=(1, 40, 1)) + rng.normal(size=(2, 40, 1))
        a, b = (shift + rng.normal(size=(2, 40, 5))).reshape(2, 200)
        labels = np.repeat(np.arange(40), 5).tolist()
        one, two = quantile_interval(a, 0.5, labels), paired_quantile_interval(a, b, 0.5, labels)
        hits += one.low <= 0 <= one.high
        pairs += two.low <= 0 <= two.high
    assert hits / 250 >= 0.92
    assert pairs / 250 >= 0.92


def test_a_relative_margin_scales_the_reference():
    a, b = latencies(np.random.default_rng(6), 300)
    got = paired_quantile_interval(a, b, 0.5, factor=1.1)
    assert got.value == pytest.approx(np.quantile(a, 0.5) - 1.1 * np.quantile(b, 0.5))
    assert got.low < got.value < got.high


def test_swapping_runs_negates_the_interval():
    a, b = latencies(np.random.default_rng(7), 100)
    here, there = paired_quantile_interval(a, b, 0.9), paired_quantile_interval(b, a, 0.9)
    assert (here.low, here.high) == pytest.approx((-there.high, -there.low))


def test_no_items_and_one_cluster_give_no_ends():
    assert quantile_interval([], 0.5).value is None
    assert paired_quantile_interval([], [], 0.5).value is None
    got = quantile_interval([1.0, 2.0, 3.0], 0.5, ["p", "p", "p"])
    assert (got.value, got.low, got.high, got.method) == (2.0, None, None, "one-unit")


def test_what_is_no_quantile_or_no_pair_is_refused():
    with pytest.raises(ValueError, match="quantile 95"):
        quantile_interval([1.0, 2.0], 95)
    with pytest.raises(ValueError, match="paired"):
        paired_quantile_interval([1.0, 2.0], [1.0], 0.5)


def test_a_hundred_thousand_clustered_items_are_no_matter_of_minutes():
    a, b = latencies(np.random.default_rng(8), 100_000)
    started = time.process_time()
    paired_quantile_interval(a, b, 0.95, [i // 4 for i in range(100_000)])
    assert time.process_time() - started < 30  # of CPU, for a moment: slow machines have room, squares have not
