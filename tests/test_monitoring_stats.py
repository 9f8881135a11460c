"""The statistics of monitoring: fair bets, uniform ranks, corrections and tests against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from harness import stats
from harness.monitoring import betting, canary, drift
from harness.monitoring.betting import Bets, Side, ranks
from harness.monitoring.features import Feature
from harness.monitoring.texts import Space

SIDES: tuple[Side, ...] = ("both", "lower", "higher")


@pytest.mark.parametrize("side", SIDES)
def test_every_bettor_pays_one_on_average_over_uniform_ranks(side: Side) -> None:
    grid = ((np.arange(400_000) + 0.5) / 400_000)[:, None]
    fresh = Bets.new(side, (len(grid),))
    after, _ = fresh.after(grid)
    # Each density integrates to one; what was moved between bettors afterwards keeps the sum.
    assert np.exp(after.log_e).mean() == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("side", SIDES)
def test_moving_capital_between_blocks_neither_makes_nor_loses_any(side: Side) -> None:
    before = Bets.new(side)
    after, path = before.after(np.full(betting.BLOCK, 0.3))
    assert float(after.log_e) == pytest.approx(path[-1])
    assert float(after.log_e) == pytest.approx(float(after.most)) or float(after.log_e) < 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(2, 6))
def test_ranks_are_those_that_scipy_counts(seed: int, held: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    before, values, ties = rng.integers(bins, size=held), rng.integers(bins, size=15), rng.random(15)
    p, counts = ranks(np.bincount(before, minlength=bins), values, ties)
    for i, value in enumerate(values):
        known = np.concatenate([before, values[: i + 1]])
        below = scipy_stats.percentileofscore(known, value, "strict") / 100
        here = scipy_stats.percentileofscore(known, value, "weak") / 100 - below
        assert p[i] == pytest.approx(below + ties[i] * here)
    assert (counts == np.bincount(np.concatenate([before, values]), minlength=bins)).all()


def test_ranks_of_exchangeable_values_are_uniform_and_independent_for_a_small_reference_with_ties() -> None:
    rng = np.random.default_rng(3)
    last = []
    for _ in range(3000):
        values = rng.binomial(4, 0.3, size=9)  # 5 of them are the reference
        p, _ = ranks(np.bincount(values[:5], minlength=5), values[5:], rng.random(4))
        last.append(p)
    found = np.array(last)
    assert scipy_stats.kstest(found.ravel(), "uniform").pvalue > 0.001
    assert abs(np.corrcoef(found[:, 0], found[:, -1])[0, 1]) < 0.07


def test_bets_do_not_depend_on_how_days_are_cut_into_blocks_of_whole_size() -> None:
    p = np.random.default_rng(0).random(betting.BLOCK * 4)
    whole, _ = Bets.new("both").after(p)
    part, _ = Bets.new("both").after(p[: betting.BLOCK * 2])
    parts, _ = part.after(p[betting.BLOCK * 2 :])
    assert np.allclose(whole.capital, parts.capital)
    assert float(whole.most) == pytest.approx(float(parts.most))


def test_the_capital_of_a_day_goes_on_from_what_the_store_holds() -> None:
    rng = np.random.default_rng(1)
    feature = Feature("question_length", rng.normal(50, 9, 200), rng.normal(70, 9, 64), np.arange(10.0, 100.0))
    first = drift.bet_on(feature, None, 1)
    second = drift.bet_on(feature, type(first).model_validate_json(first.model_dump_json()), 2)
    assert second.seen == 128
    assert second.log_e > first.log_e > 0
    assert sum(second.counts) == 200 + 128


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=9))
def test_holms_correction_is_that_of_statsmodels(values: list[float]) -> None:
    assert drift.holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())


def test_chi_square_is_scipys_and_its_permutation_p_value_is_near() -> None:
    now, before = np.array([60, 50, 40, 0]), np.array([120, 130, 150, 0])
    statistic, p = drift.permuted_chi2(now, before)
    table = scipy_stats.chi2_contingency([now[:3], before[:3]], correction=False)
    assert statistic == pytest.approx(table.statistic)
    assert p == pytest.approx(table.pvalue, abs=0.02)


def test_a_difference_of_independent_shares_has_newcombes_interval() -> None:
    # Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10, example (a): 56/70 against 48/80.
    one, other = (stats.mean_interval([1.0] * hits + [0.0] * (n - hits)) for hits, n in ((56, 70), (48, 80)))
    found = canary.independent(one, other)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_topics_do_not_depend_on_the_order_of_the_texts_and_novelty_grows_with_strange_words() -> None:
    texts = [f"where is my {thing} number {i}" for i in range(30) for thing in ("card", "loan", "parcel")]
    space, turned = Space.fit(texts), Space.fit(texts[::-1])
    assert space.names == turned.names
    assert (space.topics(texts) == turned.topics(texts)).all()
    known, close, strange = space.novelty([texts[0], "where is my card please", "quantum chromodynamics"])
    assert known < 1e-9 < close < strange == 1.0
