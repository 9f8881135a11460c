"""Paired intervals beyond the plain difference: relative margins, judgements with ties, levels far out."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness.stats import paired_interval, tango_interval


def flipped(rng: np.random.Generator, n: int, lost: float) -> tuple[np.ndarray, np.ndarray]:
    """Real scores of which some are lost, by any amount, and none gained."""
    return np.where(rng.random(n) < lost, 1 - rng.random(n), 1.0), np.ones(n)


def test_judgements_with_ties_as_a_half_get_tangos_interval():
    a = [1.0] * 9 + [0.5] * 30 + [0.0] * 4
    got = paired_interval(a, [1 - x for x in a])
    assert (got.low, got.high) == pytest.approx(tango_interval(9, 4, 43))
    assert got.method == "tango"


def test_differences_of_one_outside_the_scale_are_no_judgements():
    assert paired_interval([3.0, 2.0, 2.0], [2.0, 2.0, 3.0]).method == "t+bca"


def test_clustered_judgements_are_not_taken_for_independent():
    a, labels = [1.0, 0.5, 0.0, 0.5] * 20, [i // 4 for i in range(80)]
    assert paired_interval(a, [0.5] * 80, labels).method.startswith("cluster-t")


@pytest.mark.parametrize("score", [0.0, 0.7, 1.0])
def test_identical_runs_under_a_relative_margin_are_not_certain(score):
    got = paired_interval([score] * 10, [score] * 10, factor=0.98)
    assert got.value == pytest.approx(0.02 * score)
    assert got.low < -0.2
    assert got.high > 0.2


def test_small_deviations_count_as_small_under_a_relative_margin():
    b = np.random.default_rng(1).random(400)
    got, plain = paired_interval(b + 0.001, b, factor=0.98), paired_interval(b + 0.001, b)
    assert got.high - got.low < 0.01
    assert plain.high - plain.low < 0.01


def test_the_references_own_uncertainty_counts_under_a_relative_margin():
    rng = np.random.default_rng(2)
    b = rng.random(300)
    a = np.clip(b + rng.normal(0, 0.05, 300), 0, 1)
    got, fixed = paired_interval(a, b, factor=0.5), paired_interval(a, b)
    assert got.high - got.low > 2 * (fixed.high - fixed.low)


def test_the_limits_follow_the_factor():
    got = paired_interval([0.0, 0.0, 0.1] * 9, [1.0, 0.9, 1.0] * 9, factor=0.9)
    assert got.low == -0.9
    assert got.high < 0
    assert paired_interval([0.0, 1.0], [1.0, 0.5], ["p", "p"], factor=0.9).low == -0.9


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_a_senseless_factor_is_refused(factor):
    with pytest.raises(ValueError, match="factor"):
        paired_interval([1.0], [1.0], factor=factor)


@pytest.mark.parametrize(("n", "lost"), [(50, 0.1), (200, 0.02)])
def test_far_out_in_the_tail_rare_losses_are_not_overlooked(n, lost):
    wrong = sum(
        paired_interval(*flipped(np.random.default_rng(trial), n, lost), confidence=0.99).low > -lost / 2
        for trial in range(300)
    )
    assert wrong <= scipy_stats.binom.ppf(0.999, 300, 0.0075)


def test_at_an_extreme_level_seeing_nothing_proves_no_more_than_the_exact_bound():
    b = np.full(100, 0.5)
    for confidence in (0.95, 0.99, 0.9975):
        got = paired_interval(b, b, factor=0.999, confidence=confidence)
        assert got.low < -0.7 * (1 - (0.5 - confidence / 2) ** (1 / 100))


@pytest.mark.parametrize(("n", "sd", "expected"), [(50, 0.005, 1.0), (200, 0.02, 1.5), (1000, 0.005, 2.0)])
def test_jitter_on_every_item_does_not_hide_rare_total_losses(n, sd, expected):
    """Scores move a little everywhere and are lost wholly now and then; the margin is the true difference."""
    rng, wrong, trials = np.random.default_rng(0), 0, 300
    for _ in range(trials):
        b = rng.uniform(0.3, 0.9, n)
        a = np.clip(b + rng.normal(0, sd, n), 0, 1)
        lost = rng.random(n) < expected / n
        a[lost] = 0.0
        wrong += paired_interval(a, b).low > -0.6 * expected / n
    assert wrong <= 0.05 * trials
