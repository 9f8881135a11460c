"""Early decision: errs no more often than it says however often it looks, and saves items when the effect is clear."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats import Design, items_needed
from harness.stats.sequences import SHARES, STAKES, PairedSequence

TERNARY = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=120)
PATTERN = np.array([1, 0, 0, -1, 1, 0, 0, 0, 1, 0] * 20, dtype=float)
"""200 differences with a mean of 0.2."""


def bits(rng: np.random.Generator, n: int, truth: float, discordance: float) -> np.ndarray:
    u = rng.random(n)
    return (u < (discordance + truth) / 2).astype(float) - (u > 1 - (discordance - truth) / 2)


def decided(x: np.ndarray, margin: float, level: float) -> tuple[str | None, int]:
    """The outcome over all of x, and after how many items it was reached (to 10 items)."""
    sequence = PairedSequence(margin, level, level)
    for start in range(0, len(x), 10):
        sequence.add(x[start : start + 10], np.ones(10))
        if sequence.outcome:
            break
    return sequence.outcome, sequence.items


def whole(x: np.ndarray, margin: float = 0.0, level: float = 0.025) -> PairedSequence:
    sequence = PairedSequence(margin, level, level)
    sequence.add(x, np.ones(len(x)))
    return sequence


# ------------------------------------------------------------------------- error rates


@pytest.mark.parametrize(("truth", "margin", "discordance"), [(0.05, 0.05, 0.3), (0.0, 0.0, 0.02), (-0.05, -0.05, 0.1)])
def test_at_the_margin_it_passes_no_more_often_than_its_level_over_all_stopping_times(truth, margin, discordance):
    rng, level = np.random.default_rng(1), 0.1
    outcomes = [whole(bits(rng, 600, truth, discordance), margin, level).outcome for _ in range(400)]
    assert outcomes.count("pass") <= level * 400
    assert outcomes.count("fail") <= level * 400


def test_unequal_correlated_clusters_pass_no_more_often_than_the_level():
    rng, level, passed = np.random.default_rng(2), 0.1, 0
    for _ in range(400):
        sizes = rng.choice([1, 2, 9], 150)
        sums = sizes * bits(rng, 150, 0.0, 0.4)
        sequence = PairedSequence(0.0, level, level, largest_cluster=9)
        sequence.add(sums, sizes)
        passed += sequence.outcome == "pass"
    assert 0 < passed <= level * 400


def test_the_interval_covers_the_mean_over_items_of_unequal_clusters_at_all_times():
    rng, missed = np.random.default_rng(3), 0
    for _ in range(100):
        sizes = rng.choice([1, 4], 300)
        sums = np.where(sizes == 4, 4 * bits(rng, 300, 0.4, 0.6), bits(rng, 300, -0.2, 0.6))
        sequence = PairedSequence(0.0, 0.05, 0.05, largest_cluster=4)
        sequence.add(sums, sizes)
        low, high = sequence.interval(0.05, 0.05)
        missed += not low <= (4 * 0.4 - 0.2) / 5 <= high
    assert missed <= 10


# -------------------------------------------------------------------------------- power


@pytest.mark.parametrize(("truth", "margin"), [(0.15, 0.05), (0.10, 0.0)])
def test_a_clear_gain_takes_six_tenths_of_the_items_of_a_fixed_test_with_the_same_power(truth, margin):
    rng, level = np.random.default_rng(4), 0.025
    runs = [decided(bits(rng, 1000, truth, 0.3), margin, level) for _ in range(200)]
    power = np.mean([outcome == "pass" for outcome, _ in runs])
    fixed = items_needed(Design(1, 0.3), margin, truth, level, 0.97)
    assert fixed is not None
    assert power >= 0.97
    assert np.median([items for _, items in runs]) <= 0.6 * fixed


def test_a_clear_loss_fails_early():
    outcome, items = decided(bits(np.random.default_rng(5), 1000, -0.15, 0.3), -0.02, 0.025)
    assert outcome == "fail"
    assert items < 500


# --------------------------------------------------------------------------- properties


@settings(deadline=None, max_examples=40)
@given(TERNARY, st.integers(1, 30), st.floats(-0.3, 0.3))
def test_batches_do_not_matter(x, size, margin):
    at_once = PairedSequence(margin, 0.2, 0.2)
    at_once.add(x, np.ones(len(x)))
    in_parts = PairedSequence(margin, 0.2, 0.2)
    for start in range(0, len(x), size):
        in_parts.add(x[start : start + size], np.ones(len(x[start : start + size])))
    assert in_parts.outcome == at_once.outcome
    assert in_parts.items == at_once.items == len(x)
    assert in_parts.interval(0.05, 0.05) == pytest.approx(at_once.interval(0.05, 0.05), abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(TERNARY, st.floats(-0.3, 0.3))
def test_the_test_and_the_interval_agree(x, margin):
    sequence = PairedSequence(margin, 0.3, 0.3)
    sequence.add(x, np.ones(len(x)))
    low, high = sequence.interval(0.3, 0.3)
    if sequence.outcome is None:
        assert low <= margin + 1e-5
        assert high >= margin - 1e-5
    else:
        assert (low >= margin - 1e-5) if sequence.outcome == "pass" else (high <= margin + 1e-5)


@settings(deadline=None, max_examples=40)
@given(TERNARY, st.floats(-0.3, 0.3))
def test_swapping_the_sides_swaps_pass_and_fail(x, margin):
    there, back = whole(np.array(x), margin, 0.2), whole(-np.array(x), -margin, 0.2)
    assert back.outcome == {"pass": "fail", "fail": "pass", None: None}[there.outcome]
    low, high = there.interval(0.1, 0.05)
    assert back.interval(0.05, 0.1) == pytest.approx((-high, -low), abs=1e-5)


def test_the_first_crossing_decides_for_good():
    sequence = PairedSequence(0.0, 0.025, 0.025)
    sequence.add(np.ones(50), np.ones(50))
    assert sequence.outcome == "pass"
    sequence.add(-np.ones(500), np.ones(500))
    assert sequence.outcome == "pass"
    assert sequence.items == 550


def test_later_items_only_narrow_the_interval():
    x = bits(np.random.default_rng(6), 400, 0.1, 0.4)
    early, late = whole(x[:200]).interval(0.05, 0.05), whole(x).interval(0.05, 0.05)
    assert early[0] <= late[0] < late[1] <= early[1]


def test_nothing_seen_is_nothing_known():
    sequence = PairedSequence(0.0, 0.025, 0.025, lower=-0.98)
    assert sequence.outcome is None
    assert sequence.interval(0.025, 0.025) == pytest.approx((-0.98, 1.0), abs=1e-5)


def test_items_that_move_together_count_as_one_unit():
    sequence = PairedSequence(0.0, 0.025, 0.025, largest_cluster=100)
    sequence.add([100], [100])
    assert sequence.outcome is None


def test_ten_thousand_units_are_no_matter_of_minutes():
    x, start = bits(np.random.default_rng(7), 10_000, 0.01, 0.3), time.process_time()
    whole(x)
    assert time.process_time() - start < 10  # of CPU, for a hundredth of a second: slow machines have room


# ---------------------------------------------------------------------- cross-checks


def test_the_capital_is_that_of_confseq():
    """Numbers of confseq 0.0.11, with z = (PATTERN + 1) / 2, m = 0.525, and k running over STAKES:

    sum(SHARES[k] * betting_mart(z, m, lambdas_fn_positive=lambda x, m: np.full(len(x), STAKES[k] / m),
                                 theta=1, trunc_scale=1))
    """
    sequence, capital = PairedSequence(0.05, 1 / 110.78, 0.5), []
    for block in np.split(PATTERN, 4):
        sequence.add(block, np.ones(50))
        capital.append(float(np.exp(sequence._above) @ SHARES))
    assert capital[0] == pytest.approx(2.262461781430603)
    assert capital[1] == pytest.approx(7.622769064506826)
    assert capital[3] == pytest.approx(110.78412970018292)
    assert sequence.outcome == "pass"


def test_the_capital_is_that_of_confseq_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(np, "float_", np.float64, raising=False)  # confseq 0.0.11 knows numpy 1 only
    betting = pytest.importorskip("confseq.betting")
    z, m = (PATTERN + 1) / 2, 0.525
    for side in (1, -1):
        paths = [
            betting.betting_mart(
                z, m, lambdas_fn_positive=lambda x, m, s=stake: np.full(len(x), s / m),
                lambdas_fn_negative=lambda x, m, s=stake: np.full(len(x), s / (1 - m)),
                theta=1 if side > 0 else 0, trunc_scale=1,
            )
            for stake in STAKES
        ]  # fmt: skip
        sequence = whole(PATTERN, 0.05)
        own = sequence._above if side > 0 else sequence._below
        assert np.exp(own) @ SHARES == pytest.approx(float(SHARES @ np.array(paths)[:, -1]))


def test_the_interval_is_no_wider_than_that_of_confseq():
    """confseq 0.0.11: betting_cs((PATTERN + 1) / 2, alpha=0.05, running_intersection=True), as a difference."""
    low, high = whole(PATTERN).interval(0.025, 0.025)
    assert high - low < 1.02 * (0.336 - 0.068)
    assert low < 0.2 < high


# -------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"margin": 1.0}, "not inside the scale"),
        ({"margin": math.nan}, "not inside the scale"),
        ({"pass_level": 0.0}, "between 0 and 1"),
        ({"fail_level": 1.0}, "between 0 and 1"),
        ({"largest_cluster": 0}, "at least 1"),
    ],
)
def test_a_test_out_of_range_is_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        PairedSequence(**{"margin": 0.0, "pass_level": 0.05, "fail_level": 0.05, **arguments})


@pytest.mark.parametrize(
    ("sums", "sizes", "told"),
    [
        ([1.0, 0.0], [1], "one of each a unit"),
        ([1.0], [3], "wanted 1 to largest_cluster"),
        ([0.0], [0], "wanted 1 to largest_cluster"),
        ([1.5], [1], "outside"),
        ([math.nan], [1], "outside"),
    ],
)
def test_units_out_of_range_are_refused(sums, sizes, told):
    with pytest.raises(ValueError, match=told):
        PairedSequence(0.0, 0.05, 0.05, largest_cluster=2).add(sums, sizes)
