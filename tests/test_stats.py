"""Intervals: right where a published or library value exists, honest where none does."""

import math
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from harness.stats import (
    detectable_difference,
    items_needed,
    mcnemar_exact_p,
    mean_interval,
    paired_interval,
    pass_probability,
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


def test_tango_at_zero_is_mcnemars_statistic():
    table = [[50, 5], [14, 31]]
    assert float(tango_z(5, 14, 100, 0.0)) ** 2 == pytest.approx(
        mcnemar(table, exact=False, correction=False).statistic
    )


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


# ------------------------------------------------------------- agreement with libraries


def test_one_run_of_right_and_wrong_gets_wilsons_interval():
    got = mean_interval([1] * 7 + [0] * 3)
    assert (got.low, got.high) == pytest.approx(proportion_confint(7, 10, method="wilson"))
    assert got.method == "wilson"


def test_mcnemar_agrees_with_statsmodels_and_is_one_without_discordance():
    assert mcnemar_exact_p(6, 16) == pytest.approx(mcnemar([[59, 6], [16, 80]], exact=True).pvalue)
    assert mcnemar_exact_p(0, 0) == 1.0


def test_large_real_samples_get_students_interval():
    rng = np.random.default_rng(1)
    a, b = rng.random(3000), rng.random(3000)
    want = scipy_stats.ttest_rel(a, b).confidence_interval()
    got = paired_interval(a, b)
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=1e-4)


def test_many_clusters_get_the_cluster_robust_interval_of_statsmodels():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(2000), rng.integers(1, 6, 2000))
    shift = rng.normal(0, 0.3, 2000)[labels]
    a, b = shift + rng.normal(size=len(labels)), rng.normal(size=len(labels))
    fit = OLS(a - b, np.ones(len(labels))).fit(cov_type="cluster", cov_kwds={"groups": labels})
    got = paired_interval(a, b, labels.tolist())
    assert got.high - got.value == pytest.approx(LEVEL * fit.bse[0], rel=0.01)


def test_clusters_of_one_size_are_compared_by_their_means():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=6000), rng.normal(size=6000)
    want = scipy_stats.ttest_1samp((a - b).reshape(1200, 5).mean(1), 0).confidence_interval()
    got = paired_interval(a, b, np.repeat(np.arange(1200), 5).tolist())
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=1e-3)


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


# --------------------------------------------------------------------------------- power


@pytest.mark.parametrize(
    ("n", "margin", "truth", "discordance"),
    [
        (50, -0.1, 0.0, 0.1),
        (200, -0.02, 0.0, 0.1),
        (200, 0.05, 0.12, 0.3),
        (1000, -0.02, 0.0, 0.02),
        (50, 0.0, 0.3, 0.3),
    ],
)
def test_the_forecast_chance_agrees_with_simulation_through_the_interval(n, margin, truth, discordance):
    shares = [(discordance + truth) / 2, (discordance - truth) / 2, 1 - discordance]
    tables = np.random.default_rng(7).multinomial(n, shares, size=1500)
    seen, counts = np.unique(tables[:, :2], axis=0, return_counts=True)
    passed = sum(c for (b, lost), c in zip(seen, counts, strict=True) if tango_interval(b, lost, n)[0] > margin)
    assert pass_probability(n, margin, truth, discordance) == pytest.approx(passed / 1500, abs=0.05)


def test_the_limit_for_many_items_meets_the_exact_sum():
    exact, limit = (pass_probability(n, -0.005, 0.0, 0.1) for n in (20_000, 20_001))
    assert limit == pytest.approx(exact, abs=0.005)


def test_the_items_needed_give_the_power_that_was_asked_for():
    n = items_needed(-0.02, 0.0, 0.1)
    assert n is not None
    assert pass_probability(n, -0.02, 0.0, 0.1) == pytest.approx(0.8, abs=0.02)


def test_no_number_of_items_decides_at_the_margin():
    assert items_needed(0.05, 0.05, 0.1) is None


def test_the_detectable_difference_passes_with_the_power_that_was_asked_for():
    least = detectable_difference(300, 0.0, 0.2)
    assert least is not None
    assert pass_probability(300, 0.0, least, 0.2) == pytest.approx(0.8, abs=0.02)


def test_an_impossible_discordance_is_refused():
    with pytest.raises(ValueError, match="discordance"):
        pass_probability(100, 0.0, 0.2, 0.1)


# --------------------------------------------------------------------------------- speed


def test_a_hundred_thousand_clustered_samples_take_well_under_three_seconds():
    rng = np.random.default_rng(8)
    a, b = rng.random((2, 100_000))
    started = time.process_time()
    paired_interval(a, b, [f"passage {i // 4}" for i in range(100_000)])
    assert time.process_time() - started < 2
