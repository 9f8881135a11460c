"""Power: forecasts that keep their word, for 0/1 and real scores, independent and clustered."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats import (
    Design,
    PairedSequence,
    detectable_difference,
    items_needed,
    normal_quantile,
    paired_interval,
    pass_probability,
    recipe_interval,
    recipe_pass_probability,
    tango_z,
)
from harness.stats.power import EXACT_UP_TO
from harness.stats.simulated import lower_ends, simulated_pass

LEVEL = 0.025
FIVES = Design(200, 0.3, cluster_sizes=(5,) * 40, icc=0.2)


def differences(rng: np.random.Generator, design: Design, truth: float) -> np.ndarray:
    """Differences made another way than the forecast makes them: magnitudes uniform on [0.1, 0.9] unless 0/1."""
    u = rng.random(design.n)
    if design.clustered:
        shared = np.repeat(rng.random(design.units), design.sizes)
        u = np.where(rng.random(design.n) < np.sqrt(design.icc), shared, u)
    lean = truth if design.binary else truth / 0.5
    sign = (u < (design.discordance + lean) / 2) * 1.0 - (u > 1 - (design.discordance - lean) / 2)
    return sign if design.binary else sign * rng.uniform(0.1, 0.9, design.n)


def realised(design: Design, margin: float, truth: float, trials: int) -> float:
    rng, passed = np.random.default_rng(8), 0
    labels = np.repeat(np.arange(design.units), design.sizes).tolist() if design.clustered else None
    for _ in range(trials):
        x = differences(rng, design, truth)
        low = paired_interval(np.maximum(x, 0), np.maximum(-x, 0), labels).low
        passed += low is not None and low > margin
    return passed / trials


# -------------------------------------------------------------- forecast against realised


@pytest.mark.parametrize(
    ("design", "margin", "truth"),
    [
        (Design(50, 0.1), -0.1, 0.0),
        (Design(200, 0.3), -0.1, 0.0),
        (Design(1000, 0.1), -0.02, 0.0),
        (Design(60, 0.3, size=0.551), -0.05, 0.05),
        (Design(200, 0.1, size=0.551), -0.03, 0.0),
        (FIVES, -0.05, 0.05),
        (Design(100, 0.1, cluster_sizes=(5,) * 20, icc=0.5), -0.05, 0.05),
        (Design(78, 0.3, cluster_sizes=(12, 12, 12, 6, *[2] * 18), icc=0.5), -0.1, 0.1),
    ],
)
def test_the_forecast_is_the_share_of_gates_that_pass(design, margin, truth):
    trials = 200
    share = realised(design, margin, truth, trials)
    noise = 3 * (0.25 / trials) ** 0.5
    assert 0 < share < 1
    assert pass_probability(design, margin, truth, LEVEL) == pytest.approx(share, abs=noise)


@pytest.mark.parametrize(
    ("design", "margin", "truth"),
    [(Design(300, 0.3), 0.05, 0.15), (Design(300, 0.3, size=0.551), 0.0, 0.05), (FIVES, -0.15, 0.0)],
)
def test_the_forecast_of_early_decisions_is_the_share_of_sequences_that_pass(design, margin, truth):
    rng, passed = np.random.default_rng(11), 0
    units = np.repeat(np.arange(design.units), design.sizes)
    for _ in range(300):
        sequence = PairedSequence(margin, LEVEL, LEVEL, largest_cluster=int(design.sizes.max()))
        sequence.add(np.bincount(units, weights=differences(rng, design, truth)), design.sizes)
        passed += sequence.outcome == "pass"
    early = pass_probability(design, margin, truth, LEVEL, early=True)
    assert early == pytest.approx(passed / 300, abs=0.09)
    assert 0.1 < early < pass_probability(design, margin, truth, LEVEL) - 0.1


def test_the_largest_simulated_sequence_takes_over_without_a_step():
    small, large = (pass_probability(Design(n, 0.1), -0.006, 0.0, LEVEL, early=True) for n in (10_000, 10_001))
    assert 0.1 < small == pytest.approx(large, abs=0.02)


def test_tango_tables_are_summed_exactly():
    n, margin, up, down = 6, -0.3, 0.3, 0.1
    rng = np.random.default_rng(9)
    tables = rng.multinomial(n, [up, down, 1 - up - down], 200_000)
    share = np.mean(tango_z(tables[:, 0], tables[:, 1], n, margin) > normal_quantile(0.8))
    assert pass_probability(Design(n, up + down), margin, up - down, 0.1) == pytest.approx(share, abs=0.004)


@pytest.mark.parametrize("sizes", [None, (2,) * 1200, (1, 3) * 600])
def test_many_units_are_simulated_with_the_gates_own_interval(sizes):
    design = Design(sum(sizes) if sizes else 1200, 0.05, size=0.551, cluster_sizes=sizes, icc=0.3)
    x = differences(np.random.default_rng(10), design, 0.01)
    units = np.repeat(np.arange(design.units), design.sizes)
    own = lower_ends(design, x[None, :], np.bincount(units, weights=x)[None, :], LEVEL)[0]
    assert own == pytest.approx(paired_interval(np.maximum(x, 0), np.maximum(-x, 0), units.tolist()).low, abs=1e-12)


@pytest.mark.parametrize(
    "design", [Design(5000, 0.03, size=0.4), Design(2000, 0.14, cluster_sizes=(5,) * 400, icc=0.2)]
)
def test_the_normal_limit_takes_over_without_a_step(monkeypatch, design):
    taken = [simulated_pass(design, -0.01, truth, LEVEL) for truth in (-0.008, -0.005, 0.0)]
    monkeypatch.setattr("harness.stats.simulated.LIMIT_FROM", 1e9)
    assert [simulated_pass(design, -0.01, truth, LEVEL) for truth in (-0.008, -0.005, 0.0)] == pytest.approx(
        taken, abs=0.04
    )


def test_the_normal_limit_of_tango_takes_over_without_a_step():
    exact, limit = (pass_probability(Design(n, 0.1), -0.005, 0.0, LEVEL) for n in (EXACT_UP_TO, EXACT_UP_TO + 1))
    assert limit == pytest.approx(exact, abs=0.005)


# ------------------------------------------------------------------------ what is needed


@pytest.mark.parametrize("design", [Design(200, 0.1), Design(200, 0.1, size=0.4), FIVES])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_the_items_needed_give_the_power_that_was_asked_for(design, power):
    n = items_needed(design, -0.04, 0.0, LEVEL, power)
    assert n is not None
    assert pass_probability(design.with_items(n), -0.04, 0.0, LEVEL) == pytest.approx(power, abs=0.03)


@pytest.mark.parametrize("design", [Design(300, 0.2), Design(300, 0.2, size=0.3), FIVES])
def test_the_detectable_difference_passes_with_the_power_that_was_asked_for(design):
    least = detectable_difference(design, 0.0, LEVEL)
    assert least is not None
    assert pass_probability(design, 0.0, least, LEVEL) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("size", [1.0, 0.3])
def test_a_truth_at_the_margin_is_never_shown(size):
    design = Design(200, 0.1, size=size)
    assert pass_probability(design, 0.05, 0.05, LEVEL) < 0.05
    assert items_needed(design, 0.05, 0.05, LEVEL) is None


def test_five_items_cannot_show_half_a_scale():
    assert detectable_difference(Design(5, 0.1), 0.5, LEVEL) is None


def test_one_cluster_never_passes():
    assert pass_probability(Design(40, 0.1, cluster_sizes=(40,)), -0.5, 0.2, LEVEL) == 0.0


@pytest.mark.parametrize(("icc", "size"), [(0.2, 1.0), (0.5, 1.0), (0.5, 0.3)])
def test_correlated_clusters_need_more_items(icc, size):
    alone, together = Design(200, 0.1, size), Design(200, 0.1, size, cluster_sizes=(5,) * 40, icc=icc)
    more = items_needed(together, -0.02, 0.0, LEVEL) / items_needed(alone, -0.02, 0.0, LEVEL)
    assert more == pytest.approx(together.effect, rel=0.2)


def test_a_stricter_level_passes_less_often():
    chances = [pass_probability(FIVES, -0.05, 0.05, level) for level in (0.05, 0.025, 0.005)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > chances[2] + 0.1


def test_a_forecast_does_not_change_when_it_is_made_again():
    assert pass_probability(FIVES, -0.05, 0.0, LEVEL) == pass_probability(FIVES, -0.05, 0.0, LEVEL)


def test_a_forecast_of_a_thousand_clustered_items_takes_a_moment():
    design = Design(1000, 0.1, cluster_sizes=(5,) * 200, icc=0.5)
    start = time.process_time()
    detectable_difference(design, -0.02, LEVEL)
    items_needed(design, -0.02, 0.0, LEVEL)
    assert time.process_time() - start < 30  # of CPU, for a seventh of a second: slow machines have room


# -------------------------------------------------------------------------------- designs


@settings(deadline=None)
@given(st.floats(0.01, 1), st.floats(0.01, 3), st.floats(-1, 1))
def test_a_design_allows_any_truth_it_is_asked_to(discordance, size, truth):
    fitting = Design(10, discordance, size).allowing(truth)
    assert abs(truth) <= fitting.discordance * fitting.mean_magnitude * (1 + 1e-9)
    assert fitting.discordance <= 1


@pytest.mark.parametrize("size", [0.1, 0.55, 0.6, 0.9, 1.0, 4.0])
def test_magnitudes_have_the_stated_root_mean_square_and_mean(size):
    design = Design(10, 0.1, size)
    drawn = design.magnitudes((np.arange(100_000) + 0.5) / 100_000)
    assert np.sqrt(np.mean(drawn**2)) == pytest.approx(size, rel=1e-3)
    assert drawn.mean() == pytest.approx(design.mean_magnitude, rel=1e-3)
    assert size > 1 or drawn.max() <= 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 200))
def test_a_design_grows_and_shrinks_by_clusters_like_its_own(sizes, n):
    grown = Design(sum(sizes), 0.1, cluster_sizes=tuple(sizes)).with_items(n)
    assert grown.n == n == int(grown.sizes.sum())
    assert grown.sizes.max() <= max(sizes)


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 0},
        {"discordance": 1.2},
        {"size": 0.0},
        {"icc": -0.1},
        {"cluster_sizes": (4, 4)},
        {"cluster_sizes": (10, 0)},
        {"cluster_sizes": ()},
    ],
)
def test_an_impossible_design_is_refused(arguments):
    with pytest.raises(ValueError, match=r"a design wants|cluster sizes must"):
        Design(**{"n": 10, "discordance": 0.1, **arguments})


@pytest.mark.parametrize(("truth", "level"), [(0.0, 0.0), (0.0, 0.6), (1.5, 0.025)])
def test_a_chance_out_of_range_is_refused(truth, level):
    with pytest.raises(ValueError, match=r"level|cannot differ"):
        pass_probability(Design(100, 0.1), 0.0, truth, level)


@pytest.mark.parametrize(("seeds", "truth"), [(2, 0.15), (3, 0.1), (5, 0.1), (5, 0.05)])
def test_the_chance_of_a_recipe_is_the_realised_one(seeds, truth):
    rng, n, sd, trials, passed = np.random.default_rng(seeds), 400, 0.03, 300, 0
    for _ in range(trials):
        effects = truth + rng.normal(0, sd, seeds)
        b = (rng.random(n) < 0.5).astype(float)
        moved = rng.random((seeds, n))
        up, down = (0.3 + effects) / 2, (0.3 - effects) / 2
        rows = np.where(moved < up[:, None] * (b == 0) * 2, 1.0, np.where(moved < down[:, None] * (b == 1) * 2, 0.0, b))
        passed += recipe_interval(rows, b).low > 0
    told = recipe_pass_probability(Design(n, 0.3), 0.0, truth, 0.025, seeds=seeds, seed_sd=sd)
    assert told == pytest.approx(passed / trials, abs=0.12)


def test_a_recipe_of_one_seed_has_no_chance_to_forecast():
    with pytest.raises(ValueError, match="at least two"):
        recipe_pass_probability(Design(100, 0.1), 0.0, 0.1, 0.025, seeds=1, seed_sd=0.02)
