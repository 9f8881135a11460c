"""The recipe claim: honest over training seeds and items, refused with one seed."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness.stats import paired_interval, recipe_interval


def crossed(rng: np.random.Generator, seeds: int, items: int, seed_sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of every seed on every item; the true difference is 0."""
    noise = np.where(rng.random((seeds, items)) < 0.3, rng.normal(0, 0.3, (seeds, items)), 0)
    b = rng.random(items)
    return b + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, 0.1, items) + noise, b


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("seed_sd", [0.0, 0.03, 1.0])
def test_the_mean_over_future_seeds_is_covered_whatever_the_seeds_do(seeds, seed_sd):
    hits = 0
    for trial in range(120):
        got = recipe_interval(*crossed(np.random.default_rng(trial), seeds, 60, seed_sd))
        hits += got.low <= 0 <= got.high
    assert hits / 120 >= 0.91


def test_averaging_seeds_alone_would_miss_the_mean_over_future_seeds():
    hits = 0
    for trial in range(120):
        candidates, b = crossed(np.random.default_rng(trial), 3, 200, 0.1)
        got = paired_interval(candidates.mean(axis=0), b)
        hits += got.low <= 0 <= got.high
    assert hits / 120 < 0.6


def test_seeds_that_rule_everything_give_students_interval_over_seeds():
    candidates, b = crossed(np.random.default_rng(1), 4, 500, 5.0)
    want = scipy_stats.ttest_1samp((candidates - b).mean(axis=1), 0).confidence_interval()
    got = recipe_interval(candidates, b)
    assert (got.low, got.high) == pytest.approx((want.low, want.high), rel=1e-3)


def test_seeds_that_answer_alike_give_the_interval_over_items():
    a, b = np.random.default_rng(2).random((2, 60))
    got, want = recipe_interval([a, a, a], b), paired_interval(a, b)
    assert (got.low, got.high) == pytest.approx((want.low, want.high))
    assert got.method == "t+bca+seeds"


def test_everything_identical_is_not_certain():
    got = recipe_interval([[1.0] * 10] * 3, [1.0] * 10)
    assert got.low < -0.2
    assert got.high > 0.2


def test_shares_stay_on_their_scale_with_a_factor_too():
    got = recipe_interval([[1.0] * 20, [0.0] * 20], [0.5] * 20, factor=0.9)
    assert (got.low, got.high) == (-0.9, 1.0)


def test_one_seed_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="does not tell how far the next would differ"):
        recipe_interval([[1.0, 0.0]], [1.0, 0.0])


@pytest.mark.parametrize(("candidates", "reference"), [([1.0, 0.0], [1.0, 0.0]), ([[1.0], [0.0]], [1.0, 0.0])])
def test_scores_that_are_not_crossed_are_refused(candidates, reference):
    with pytest.raises(ValueError, match=r"candidates"):
        recipe_interval(candidates, reference)


def test_no_items_give_no_number():
    got = recipe_interval(np.empty((2, 0)), [])
    assert (got.value, got.low, got.high, got.n) == (None, None, None, 0)


def test_rounding_is_not_taken_for_many_tiny_differences():
    scores = np.random.default_rng(0).random(200)
    noisy = scores + np.random.default_rng(1).choice([-1e-16, 0, 1e-16], 200)
    same, close = paired_interval(scores, scores), paired_interval(noisy, scores)
    assert close.high - close.low == pytest.approx(same.high - same.low)
    seeds = recipe_interval(np.stack([scores] * 3), scores)
    assert seeds.high - seeds.low >= 0.99 * (same.high - same.low)


def test_seconds_below_one_are_no_shares():
    seconds = np.random.default_rng(0).random(50) / 100
    known, taken = paired_interval(seconds, seconds, shares=False), paired_interval(seconds, seconds)
    assert known.high - known.low < 0.1 * (taken.high - taken.low)
    assert paired_interval([1.0] * 9, [0.0] * 9, shares=False).method != "tango"
