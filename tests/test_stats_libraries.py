"""Our own numbers against those of scipy and statsmodels."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from harness.stats import (
    mcnemar_exact_p,
    mean_interval,
    paired_interval,
    quantile_interval,
    statistic_interval,
    tango_interval,
    tango_z,
)
from harness.stats.bootstrap import bca_interval

LEVEL = 1.959963984540054


@pytest.mark.parametrize("right", [0, 1, 7, 10])
def test_one_run_of_right_and_wrong_gets_wilsons_interval(right):
    got = mean_interval([1] * right + [0] * (10 - right))
    assert (got.low, got.high) == pytest.approx(proportion_confint(right, 10, method="wilson"), abs=1e-12)
    assert got.method == "wilson"


def test_mcnemar_agrees_with_statsmodels_and_is_one_without_discordance():
    assert mcnemar_exact_p(6, 16) == pytest.approx(mcnemar([[59, 6], [16, 80]], exact=True).pvalue)
    assert mcnemar_exact_p(0, 0) == 1.0


@pytest.mark.parametrize(("gained", "lost", "n"), [(5, 14, 100), (1, 9, 30), (12, 0, 400)])
def test_tango_at_zero_is_mcnemars_statistic(gained, lost, n):
    table = [[n - gained - lost, gained], [lost, 0]]
    assert float(tango_z(gained, lost, n, 0.0)) ** 2 == pytest.approx(
        mcnemar(table, exact=False, correction=False).statistic
    )


@pytest.mark.parametrize("won", [1, 9, 40])
def test_tango_with_every_item_discordant_is_wilsons_interval(won):
    low, high = (2 * end - 1 for end in proportion_confint(won, 40, method="wilson"))
    assert tango_interval(won, 40 - won, 40) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_bootstrap_is_scipys_bca(confidence):
    x = np.random.default_rng(1).exponential(size=60)
    want = scipy_stats.bootstrap(
        (x,), np.mean, n_resamples=1999, confidence_level=confidence, rng=np.random.default_rng(0)
    ).confidence_interval
    got = bca_interval(lambda counts: counts @ x / 60, 60, confidence)
    assert got == pytest.approx((want.low, want.high), abs=1e-12 if confidence < 0.99 else 0.02)


def test_large_real_samples_get_students_interval():
    rng = np.random.default_rng(1)
    a, b = rng.random(3000), rng.random(3000)
    want = scipy_stats.ttest_rel(a, b).confidence_interval()
    got = paired_interval(a, b)
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=1e-4)


def test_a_relative_margin_is_students_test_of_the_linear_contrast():
    rng = np.random.default_rng(2)
    b = rng.random(3000)
    a = b + rng.normal(0, 0.2, 3000)
    want = scipy_stats.ttest_1samp(a - 0.9 * b, 0).confidence_interval()
    got = paired_interval(a, b, factor=0.9)
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


@pytest.mark.parametrize("n", [9, 40, 200])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.95])
def test_a_quantile_has_scipys_order_statistics_for_ends(n, q):
    x = np.random.default_rng(4).normal(size=n)
    want = scipy_stats.quantile_test(x, p=q).confidence_interval(0.95)
    got = quantile_interval(x, q)
    ends = [np.nan if end is None else end for end in (got.low, got.high)]
    assert ends == pytest.approx([want.low, want.high], nan_ok=True)


def test_a_ratio_of_sums_has_the_linearised_error_of_statsmodels():
    rng = np.random.default_rng(5)
    size = rng.integers(1, 9, 1500).astype(float)
    total = 2 * size + rng.normal(0, 1, 1500)
    fit = OLS(total / np.sqrt(size), np.sqrt(size)).fit(cov_type="HC0")  # the ratio of sums, as a weighted mean
    got = statistic_interval(np.column_stack([total, size]), lambda s: s[..., 0] / s[..., 1])
    assert got.value == pytest.approx(fit.params[0])
    assert got.high - got.low == pytest.approx(2 * LEVEL * fit.bse[0], rel=0.06)
