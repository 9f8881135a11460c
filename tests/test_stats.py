"""Intervals: right where a published or library value exists, honest where none does."""

import math
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.stats import (
    mean_interval,
    paired_interval,
    tango_interval,
    tango_z,
)

LEVEL = 1.959963984540054
BITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)
UNIT = st.floats(0, 1).map(lambda x: round(x, 3))
SHARES = st.lists(st.tuples(UNIT, UNIT, st.integers(0, 5)), min_size=2, max_size=40)


def pairs(gained: int, lost: int, n: int) -> tuple[list[float], list[float]]:
    same = n - gained - lost
    return [1.0] * gained + [0.0] * lost + [1.0] * same, [0.0] * gained + [1.0] * lost + [1.0] * same


# ------------------------------------------------------------------------ Tango


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [
        (1, 7, 21, -0.517, -0.026),  # Bentur et al. 2009, in Fagerland, Lydersen and Laake (2014), Stat. Med. 33
        (6, 16, 161, -0.1240, -0.0054),  # Cavo et al. 2012, in Fagerland, Lydersen and Laake (2017), chapter 8
    ],
)
def test_tango_gives_the_published_intervals(gained, lost, n, low, high):
    assert tango_interval(gained, lost, n) == pytest.approx((low, high), abs=6e-4 if n == 21 else 6e-5)


def brute_force_z(gained: int, lost: int, n: int, delta: float) -> float:
    """The score statistic with its nuisance found by maximising the likelihood on a grid."""
    low, high = max(0.0, -delta), (1 - delta) / 2
    q = np.linspace(low + 1e-9, high - 1e-9, 200_001)
    log = gained * np.log(q + delta) + lost * np.log(q) + (n - gained - lost) * np.log(1 - 2 * q - delta)
    best = q[np.argmax(log)]
    return (gained - lost - n * delta) / math.sqrt(n * (2 * best + delta * (1 - delta)))


@pytest.mark.parametrize(("gained", "lost", "n"), [(3, 1, 8), (12, 7, 100), (1, 9, 30), (2, 2, 10)])
@pytest.mark.parametrize("delta", [-0.2, -0.05, 0.0, 0.1])
def test_tango_statistic_agrees_with_a_likelihood_maximised_by_brute_force(gained, lost, n, delta):
    assert float(tango_z(gained, lost, n, delta)) == pytest.approx(brute_force_z(gained, lost, n, delta), abs=1e-3)


@pytest.mark.parametrize("n", range(1, 11))
def test_tango_without_discordance_has_its_closed_form_and_width(n):
    end = LEVEL**2 / (n + LEVEL**2)
    assert tango_interval(0, 0, n) == pytest.approx((-end, end), abs=1e-9)


@pytest.mark.parametrize("n", range(1, 11))
def test_tango_ends_are_right_for_every_small_table(n):
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            low, high = tango_interval(gained, lost, n)
            assert -1 <= low <= (gained - lost) / n <= high <= 1
            assert low < high
            for end in (low, high):
                if abs(end) < 1 - 1e-9:
                    assert abs(float(tango_z(gained, lost, n, end))) == pytest.approx(LEVEL, abs=1e-4)


def test_tango_reaches_the_end_of_the_scale_when_every_item_was_won():
    assert tango_interval(10, 0, 10)[1] == 1
    assert tango_interval(0, 10, 10)[0] == -1


@pytest.mark.parametrize("table", [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_tango_refuses_what_is_no_table(table):
    with pytest.raises(ValueError, match="not a paired table"):
        tango_interval(*table)


@pytest.mark.parametrize("n", [10, 20, 50])
@pytest.mark.parametrize("discordance", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("lean", [0.0, 0.5, -1.0])
def test_tango_covers_the_truth_in_exact_enumeration(n, discordance, lean):
    truth, covered = discordance * lean, 0.0
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            if abs(float(tango_z(gained, lost, n, truth))) <= LEVEL:
                shares = [(discordance + truth) / 2, (discordance - truth) / 2, 1 - discordance]
                covered += scipy_stats.multinomial.pmf([gained, lost, n - gained - lost], n, shares)
    assert covered >= 0.93


# -------------------------------------------------------------------- honest at small n


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_ten_identical_items_never_give_a_narrow_interval(score):
    got = paired_interval([score] * 10, [score] * 10)
    assert got.low < -0.2
    assert got.high > 0.2


def test_identical_clusters_count_as_clusters_not_as_items():
    scores, labels = [1.0, 0.0] * 100, [i // 20 for i in range(200)]
    assert paired_interval(scores, scores, labels).high > 5 * paired_interval(scores, scores).high


def test_more_independent_items_make_identical_scores_surer():
    widths = [paired_interval([0.5] * n, [0.5] * n).high for n in (10, 100, 1000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.01


def test_correlated_items_widen_the_interval():
    rng = np.random.default_rng(4)
    a, b = np.repeat(rng.random(40), 5), np.repeat(rng.random(40), 5)
    plain, clustered = paired_interval(a, b), paired_interval(a, b, np.repeat(np.arange(40), 5).tolist())
    assert clustered.high - clustered.low > 1.8 * (plain.high - plain.low)


def test_one_cluster_says_nothing():
    got = paired_interval([1, 0, 1], [0, 0, 1], ["p", "p", "p"])
    assert (got.low, got.high) == (-1, 1)
    assert paired_interval([7.0, 9.0], [5.0, 5.0], ["p", "p"]).low is None


def test_unbounded_scores_that_never_vary_have_no_interval():
    got = paired_interval([999.0] * 50, [999.0] * 50)
    assert (got.value, got.low, got.high, got.method) == (0.0, None, None, "constant")


def test_no_items_give_no_number():
    for got in (mean_interval([]), paired_interval([], [])):
        assert (got.value, got.low, got.high, got.n) == (None, None, None, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_an_unscored_item_is_refused_not_dropped(bad):
    with pytest.raises(ValueError, match="unscored items are counted apart"):
        paired_interval([1.0, bad], [1.0, 0.0])


def test_wrong_shapes_and_levels_are_refused():
    with pytest.raises(ValueError, match="paired"):
        paired_interval([1, 0], [1])
    with pytest.raises(ValueError, match="cluster labels"):
        mean_interval([1, 0], ["a"])
    with pytest.raises(ValueError, match="confidence"):
        paired_interval([0.5], [0.5], confidence=1.0)


# ---------------------------------------------------------------------------- properties


@settings(deadline=None)
@given(BITS)
def test_swapping_0_1_runs_negates_the_interval(rows):
    a, b = zip(*rows, strict=True)
    here, there = paired_interval(a, b), paired_interval(b, a)
    assert (here.low, here.high) == pytest.approx((-there.high, -there.low), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(SHARES)
def test_swapping_real_runs_negates_the_interval(rows):
    a, b, labels = zip(*rows, strict=True)
    here, there = paired_interval(a, b, labels), paired_interval(b, a, labels)
    assert (here.low, here.high) == pytest.approx((-there.high, -there.low), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(SHARES, st.booleans())
def test_the_interval_holds_the_estimate_stays_on_the_scale_and_widens_with_confidence(rows, clustered):
    a, b, labels = zip(*rows, strict=True)
    narrow, wide = (paired_interval(a, b, labels if clustered else None, level) for level in (0.8, 0.95))
    assert -1 <= wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high <= 1


@settings(max_examples=40, deadline=None)
@given(SHARES)
def test_one_runs_interval_holds_its_mean_and_stays_on_the_scale(rows):
    scores, _, labels = zip(*rows, strict=True)
    got = mean_interval(scores, labels)
    assert 0 <= got.low <= got.value <= got.high <= 1


def test_the_order_of_items_does_not_matter_to_a_large_comparison():
    rng = np.random.default_rng(5)
    a, b, order = rng.random(2000), rng.random(2000), rng.permutation(2000)
    here, there = paired_interval(a, b), paired_interval(a[order], b[order])
    assert (here.low, here.high) == pytest.approx((there.low, there.high), abs=1e-12)


def test_computing_again_gives_the_same_interval():
    a, b = np.random.default_rng(6).random((2, 60))
    assert paired_interval(a, b) == paired_interval(a, b)


# ------------------------------------------------------------------------------ coverage


def covered(make, truth: float, trials: int, labels: list[int] | None = None) -> float:
    hits = 0
    for seed in range(trials):
        got = paired_interval(*make(np.random.default_rng(seed)), labels)
        hits += got.low <= truth <= got.high
    return hits / trials


def sparse(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Real scores of which three in ten differ, mostly to the worse."""
    b = rng.random(n)
    worse = np.where(rng.random(n) < 0.8, b * rng.random(n), b + (1 - b) * rng.random(n))
    return np.where(rng.random(n) < 0.3, worse, b), b


def clustered_bits(rng: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """0/1 scores, five a cluster; half of the discordance is shared inside a cluster."""
    own, shared = rng.random((groups, 5)), rng.random((groups, 1))
    u = np.where(rng.random((groups, 5)) < np.sqrt(0.5), shared, own)
    d = np.where(u < 0.09, 1.0, np.where(u < 0.3, -1.0, 0.0)).ravel()
    return np.where(d > 0, 1.0, np.where(d < 0, 0.0, 1.0)), np.where(d > 0, 0.0, np.where(d < 0, 1.0, 1.0))


@pytest.mark.parametrize("n", [10, 30, 100])
def test_sparse_real_differences_are_covered(n):
    assert covered(lambda rng: sparse(rng, n), 0.3 * -0.15, 250) >= 0.92


@pytest.mark.parametrize("groups", [10, 40])
def test_clustered_0_1_differences_are_covered(groups):
    labels = np.repeat(np.arange(groups), 5).tolist()
    assert covered(lambda rng: clustered_bits(rng, groups), 0.09 - 0.21, 250, labels) >= 0.92


def test_differences_in_very_unequal_clusters_are_covered():
    labels = np.repeat(np.arange(22), [40, 20, *[3] * 20])

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        u = np.where(rng.random(120) < np.sqrt(0.5), rng.random(22)[labels], rng.random(120))
        return (u < 0.2).astype(float), (u > 0.7).astype(float)

    assert covered(make, -0.1, 250, labels.tolist()) >= 0.92


def test_rare_skewed_losses_are_covered_where_students_interval_is_not():
    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        lost = rng.random(20) < 0.1
        return np.where(lost, 0.3, 0.8), np.full(20, 0.8)

    plain = 0
    for seed in range(250):
        a, b = make(np.random.default_rng(seed))
        with warnings.catch_warnings(action="ignore"):
            t = scipy_stats.ttest_rel(a, b).confidence_interval()
        plain += t.low <= -0.05 <= t.high
    assert plain / 250 < 0.9
    assert covered(make, -0.05, 250) >= 0.93


# --------------------------------------------------------------------------------- speed


def test_a_hundred_thousand_clustered_samples_are_no_matter_of_minutes():
    rng = np.random.default_rng(8)
    a, b = rng.random((2, 100_000))
    started = time.process_time()
    paired_interval(a, b, [f"passage {i // 4}" for i in range(100_000)])
    assert time.process_time() - started < 30  # of CPU, for a moment: slow machines have room, squares have not
