"""Forecasts of gates: what they can decide, said before anything is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness.gates import GateSpec, forecast
from harness.gates.forecasting import LEVEL, forecast_score, no_forecast
from harness.stats import Design, mean_interval

DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"


def gate(min_delta: float = -0.01, **more: Any) -> GateSpec:
    return GateSpec(suite="s", min_delta=min_delta, **more)


def test_two_hundred_items_rarely_pass_an_equal_candidate_at_two_points():
    got = forecast(gate(-0.02), Design(200, 0.1))
    assert 0.08 < got.pass_if_equal < 0.2
    assert got.discordance == 0.1
    assert got.needed_at == 0.0
    assert 1800 < got.items_needed < 2300
    assert got.decidable is False


def test_two_thousand_and_a_hundred_items_do():
    assert forecast(gate(-0.02), Design(2100, 0.1)).decidable is True


def test_a_hoped_gain_is_forecast_and_its_items_are_counted():
    got = forecast(gate(0.05), Design(200, 0.1), hoped=0.1)
    assert got.pass_if_equal < 0.001
    assert got.pass_if_hoped == pytest.approx(0.8, abs=0.05)
    assert got.needed_at == 0.1
    assert 150 < got.items_needed < 250


def test_a_hoped_gain_decides_what_is_decidable():
    assert forecast(gate(0.05), Design(400, 0.1), hoped=0.1).decidable is True
    assert forecast(gate(0.05), Design(400, 0.1), hoped=0.07).decidable is False


def test_a_hoped_gain_above_the_discordance_raises_it():
    assert forecast(gate(0.0), Design(100, 0.1), hoped=0.4).pass_if_hoped > 0.99


@pytest.mark.parametrize("hoped", [0.05, 0.01, None])
def test_hoping_for_no_more_than_the_margin_needs_more_items_than_there_are(hoped):
    got = forecast(gate(0.05), Design(200, 0.1), hoped=hoped)
    assert got.items_needed is None
    assert got.decidable is False
    assert "No number of items" in got.summary


def test_more_power_takes_more_items():
    weak, strong = (forecast(gate(-0.02), Design(200, 0.1), power=power) for power in (0.8, 0.95))
    assert strong.items_needed > 1.3 * weak.items_needed
    assert strong.detectable > weak.detectable


def test_clusters_are_told_and_cost_items():
    alone, together = (
        forecast(gate(-0.02), design)
        for design in (Design(200, 0.1), Design(200, 0.1, cluster_sizes=(5,) * 40, icc=0.5))
    )
    assert together.items_needed > 2 * alone.items_needed
    assert (together.clusters, together.icc, alone.icc) == (40, 0.5, None)
    assert "in 40 clusters" in together.summary


def test_real_scores_are_told_by_their_size():
    got = forecast(gate(-0.02), Design(200, 0.4, size=0.1))
    assert "40% of them differing, by 10.0 points or so" in got.summary


def test_a_relative_margin_follows_the_references_score():
    relative = forecast(gate(-0.04, relative=True), Design(200, 0.1), reference=0.5)
    assert relative.min_delta == -0.02
    assert relative.pass_if_equal == forecast(gate(-0.02), Design(200, 0.1)).pass_if_equal


def test_a_spent_test_split_passes_nothing():
    got = forecast(gate(-0.5), Design(200, 0.1), level=0.0)
    assert (got.pass_if_equal, got.detectable, got.items_needed, got.decidable) == (0.0, None, None, False)
    assert "spent" in got.summary


@pytest.mark.parametrize("limit", [0.0, 0.5, 0.9])
def test_a_limit_is_passed_by_the_scores_whose_interval_lies_above_it(limit):
    n, got = 120, forecast_score(GateSpec(at_least=limit), 120)
    right = int(re.search(r"it takes ([\d,]+) right", got.summary)[1])
    lows = [mean_interval(np.arange(n) < k, confidence=1 - 2 * LEVEL).low for k in (right - 1, right)]
    assert lows[0] <= limit < lows[1]
    assert scipy_stats.binom.sf(right - 1, n, got.detectable) == pytest.approx(0.8)


def test_twenty_items_cannot_show_nine_in_ten():
    got = forecast_score(GateSpec(at_least=0.9), 20)
    assert (got.detectable, got.decidable) == (None, False)
    assert "no score passes" in got.summary


def test_what_cannot_be_forecast_is_neither_decidable_nor_not():
    got = no_forecast(GateSpec(must_not_break="keep.jsonl"), Design(12, 0.0), "Every item must be right.")
    assert got.decidable is None
    assert got.min_delta is got.pass_if_equal is None
    assert got.summary == "Every item must be right."


@pytest.mark.parametrize("options", [{"level": 0.5}, {"level": -0.1}, {"power": 1.0}, {"hoped": 2.0}])
def test_a_forecast_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match="forecast wants"):
        forecast(gate(), Design(10, 0.1), **options)


def test_forecasts_of_other_rules_are_refused():
    with pytest.raises(ValueError, match="without min_delta"):
        forecast(GateSpec(at_least=0.9), Design(10, 0.1))
    with pytest.raises(ValueError, match="wanted at_least"):
        forecast_score(gate(), 10)


def test_the_worked_example_in_the_docs_gives_the_numbers_it_shows():
    code, shown = re.search(r"```python\n(.*?)```\n+prints\n+```text\n(.*?)```", DOCS.read_text(), re.DOTALL).groups()
    printed: list[str] = []
    exec(code, {"print": lambda *parts: printed.append(" ".join(map(str, parts)))})  # noqa: S102
    assert printed == shown.strip().splitlines()
