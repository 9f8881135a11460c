"""Gates: the truth table, no vacuous pass, and forecasts that keep their word."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.gates import GateSpec, decide, forecast, judge
from harness.records import ComparisonRecord, GateRecord, Interval
from harness.stats import paired_interval

DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"


def gate(min_delta: float = -0.01, **more: Any) -> GateSpec:
    return GateSpec(suite="s", min_delta=min_delta, **more)


def evidence(
    low: float | None, high: float | None, value: float | None = None, n: int = 100, unscored: int = 0, **more: Any
) -> ComparisonRecord:
    if value is None and low is not None and high is not None:
        value = (low + high) / 2
    fields = {
        "task": "*", "metric": "primary", "candidate_mean": 0.6, "reference_mean": 0.5, "won": 5, "lost": 3,
        "tied": n - 8,
    }  # fmt: skip
    interval = Interval(value=value, low=low, high=high, confidence=0.95, n=n, method=more.pop("method", "tango"))
    return ComparisonRecord(
        suite="s", candidate="a", reference="b", difference=interval, unscored=unscored, **{**fields, **more}
    )


def counted(gained: int, lost: int, n: int, right: int = 0) -> ComparisonRecord:
    """A comparison of 0/1 scores; `right` items were right on both sides."""
    a = [1.0] * gained + [0.0] * lost + [1.0] * right + [0.0] * (n - gained - lost - right)
    b = [0.0] * gained + [1.0] * lost + [1.0] * right + [0.0] * (n - gained - lost - right)
    return evidence(
        0, 0, n=n, won=gained, lost=lost, tied=n - gained - lost, candidate_mean=sum(a) / n, reference_mean=sum(b) / n
    ).model_copy(update={"difference": paired_interval(a, b)})


def judged(outcome: str, blocking: bool = True) -> GateRecord:
    return GateRecord(
        suite="s", task="*", metric="m", against="base", min_delta=0, blocking=blocking, outcome=outcome, reason="",
        comparison=None,
    )  # fmt: skip


# ------------------------------------------------------------------------------ one gate


@pytest.mark.parametrize(
    ("low", "high", "margin", "outcome"),
    [
        (0.03, 0.09, 0.02, "pass"),
        (0.02, 0.09, 0.02, "inconclusive"),
        (-0.05, 0.09, 0.02, "inconclusive"),
        (-0.05, 0.02, 0.02, "inconclusive"),
        (-0.05, 0.01, 0.02, "fail"),
        (-0.005, 0.01, -0.01, "pass"),
        (-0.05, -0.02, -0.01, "fail"),
    ],
)
def test_the_interval_and_the_margin_decide(low, high, margin, outcome):
    assert judge(gate(margin), evidence(low, high)).outcome == outcome


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_a_gate_never_passes_and_fails_and_follows_its_formula(x, y, margin):
    low, high = sorted((x, y))
    want = "pass" if low > margin else "fail" if high < margin else "inconclusive"
    assert judge(gate(margin), evidence(low, high)).outcome == want


@pytest.mark.parametrize("right", [4, 10])
def test_ten_identical_items_are_inconclusive_at_a_one_point_margin(right):
    got = judge(gate(-0.01), counted(0, 0, 10, right))
    assert got.outcome == "inconclusive"
    assert "n = 10" in got.reason


def test_many_identical_items_pass_at_a_one_point_margin():
    assert judge(gate(-0.01), counted(0, 0, 1000, right=400)).outcome == "pass"


def test_a_suite_that_both_sides_solve_wholly_can_pass_with_enough_items():
    assert judge(gate(-0.01), counted(0, 0, 1000, right=1000)).outcome == "pass"


# ------------------------------------------------------------------------ no vacuous pass


@pytest.mark.parametrize(
    ("comparison", "reason"),
    [
        (None, "There is no comparison"),
        (evidence(None, None, n=0, unscored=40), "None of 40 items has a score"),
        (evidence(0.1, 0.2, n=97, unscored=3), "3 of 100 items (3.0%) have no score on one side, more than the 2.0%"),
        (counted(0, 0, 5000, right=0), "Every score is 0 on both sides"),
        (evidence(None, None, value=0.0, method="constant"), "every score is the same"),
        (evidence(None, None, value=0.1, method="one-unit"), "all items belong to one cluster"),
    ],
)
def test_without_evidence_a_gate_is_inconclusive_and_says_why(comparison, reason):
    got = judge(gate(-0.5), comparison)
    assert got.outcome == "inconclusive"
    assert reason in got.reason


def test_unscored_items_at_the_allowed_share_still_let_the_gate_decide():
    assert judge(gate(-0.5), evidence(0.1, 0.2, n=98, unscored=2)).outcome == "pass"


@pytest.mark.parametrize(("gained", "lost", "margin", "outcome"), [(6, 0, -0.01, "pass"), (0, 40, -0.01, "fail")])
def test_items_without_a_score_can_undo_a_pass_or_a_fail(gained, lost, margin, outcome):
    whole = counted(gained, lost, 500, right=200)
    assert judge(gate(margin), whole).outcome == outcome
    got = judge(gate(margin, max_unscored=0.1), whole.model_copy(update={"unscored": 40}))
    assert got.outcome == "inconclusive"
    assert re.search(r"40 of 540 items have no score, and were they all (lost|won) it would reach", got.reason)
    assert "another experiment name" in got.reason


def test_a_wide_margin_survives_a_few_items_without_a_score():
    assert judge(gate(-0.1), counted(6, 3, 500, 200).model_copy(update={"unscored": 5})).outcome == "pass"


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 6), st.floats(-0.3, 0.3))
def test_a_verdict_with_unscored_items_is_the_one_of_every_way_they_could_have_come_out(gained, lost, missing, margin):
    spec = gate(margin, max_unscored=1)
    told = judge(spec, counted(gained, lost, 60, right=20).model_copy(update={"unscored": missing})).outcome
    for won in range(missing + 1):
        complete = counted(gained + won, lost + missing - won, 60 + missing, right=20)
        assert told in ("inconclusive", judge(spec, complete).outcome)


@pytest.mark.parametrize(("side", "outcome"), [(1, "pass"), (-1, "fail")])
def test_real_scores_reach_as_far_as_their_completed_data(side, outcome):
    a = [0.5 + side * (0.2 + 0.01 * (i % 7)) for i in range(200)]
    b = [0.5] * 200
    seen, worst = paired_interval(a, b), paired_interval(a + [float(side < 0)] * 4, b + [float(side > 0)] * 4)
    end, worst_end = (seen.low, worst.low) if side > 0 else (seen.high, worst.high)
    fields = {"candidate_mean": 0.7, "reference_mean": 0.5, "unscored": 4}
    comparison = evidence(0, 0, n=200).model_copy(update={"difference": seen, **fields})
    assert judge(gate((worst_end + end) / 2), comparison).outcome == "inconclusive"
    assert judge(gate(worst_end - side * 0.01), comparison).outcome == outcome


def test_missing_evidence_keeps_the_gates_own_metric():
    assert judge(gate(metric="f1"), None).metric == "f1"


@pytest.mark.parametrize("change", [{"suite": "t"}, {"task": "u"}, {"metric": "f1"}, {"confidence": 0.9}])
def test_a_gate_refuses_a_comparison_of_something_else(change):
    spec = GateSpec(**{"suite": "s", "min_delta": 0, **change})
    with pytest.raises(ValueError, match="was handed a comparison of"):
        judge(spec, evidence(0.1, 0.2))


# -------------------------------------------------------------------------------- reasons


def test_a_reason_gives_the_numbers_in_points():
    reason = judge(gate(0.02), evidence(0.031, 0.094, n=400)).reason
    assert reason == (
        "Difference +6.2 points (95% interval +3.1 to +9.4, n = 400, tango): "
        "all of the interval lies above the margin of +2.0."
    )


def test_a_metric_that_is_no_share_is_not_told_in_points():
    reason = judge(gate(0.5), evidence(-3.0, 4.0, candidate_mean=31.0, reference_mean=30.5, method="t+bca")).reason
    assert "points" not in reason
    assert "-3 to +4" in reason


@pytest.mark.parametrize(
    ("gained", "lost", "n", "margin", "outcome"),
    [(8, 12, 200, -0.05, "pass"), (3, 4, 60, -0.1, "pass"), (12, 9, 100, 0.1, "fail"), (9, 2, 100, 0.02, "pass")],
)
def test_the_number_of_items_that_would_settle_a_gate_does_settle_it(gained, lost, n, margin, outcome):
    got = judge(gate(margin), counted(gained, lost, n, right=20))
    assert got.outcome == "inconclusive"
    needed = int(re.search(r"about ([\d,]+) items would settle it", got.reason)[1].replace(",", ""))
    assert needed > n
    more = counted(round(gained * needed / n), round(lost * needed / n), needed, right=20)
    assert judge(gate(margin), more).outcome == outcome


def test_real_scores_are_told_the_items_at_the_variance_seen():
    reason = judge(gate(0.0), evidence(-0.01, 0.05, method="t+bca")).reason
    assert "about 460 items would settle it" in reason


@pytest.mark.parametrize("method", ["tango", "t+bca"])
def test_at_the_margin_no_number_of_items_would_settle_it(method):
    got = judge(gate(0.02), evidence(-0.04, 0.08, value=0.02, method=method))
    assert "no number of items would settle it" in got.reason


# ------------------------------------------------------------------------------- deciding


@pytest.mark.parametrize(
    ("outcomes", "decision"),
    [
        (["pass", "pass"], "promote"),
        (["pass", "fail"], "reject"),
        (["inconclusive", "fail"], "reject"),
        (["pass", "inconclusive"], "inconclusive"),
        (["inconclusive"], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_all_blocking_gates_decide_together(outcomes, decision):
    assert decide([judged(outcome) for outcome in outcomes])[0] == decision


def test_advisory_gates_alone_promote_nothing():
    decision, reason = decide([judged("pass", blocking=False)])
    assert decision == "inconclusive"
    assert "No blocking gate" in reason


def test_a_failed_advisory_gate_does_not_reject():
    assert decide([judged("pass"), judged("fail", blocking=False)])[0] == "promote"


def test_the_reason_names_the_gates_that_decided():
    assert decide([judged("pass"), judged("fail")])[1] == "1 of 2 blocking gates failed: s against base."


# ----------------------------------------------------------------------------------- spec


@pytest.mark.parametrize(
    "change", [{"min_delta": 1.5}, {"min_delta": "much"}, {"confidence": 1.0}, {"max_unscored": -0.1}, {"margin": 0.1}]
)
def test_a_gate_out_of_range_or_with_an_unknown_key_is_refused(change):
    with pytest.raises(ValidationError):
        GateSpec(**{"suite": "s", "min_delta": 0.0, **change})


# ------------------------------------------------------------------------------- forecast


def test_two_hundred_items_rarely_pass_an_equal_candidate_at_two_points():
    got = forecast(gate(-0.02), 200, discordance=0.1)
    assert 0.08 < got.pass_if_equal < 0.2
    assert got.discordance == 0.1
    assert got.needed_at == 0.0
    assert 1800 < got.items_needed < 2300


def test_a_hoped_gain_is_forecast_and_its_items_are_counted():
    got = forecast(gate(0.05), 200, discordance=0.1, hoped_gain=0.1)
    assert got.pass_if_equal < 0.001
    assert got.pass_if_hoped == pytest.approx(0.8, abs=0.05)
    assert got.needed_at == 0.1
    assert 150 < got.items_needed < 250


def test_a_hoped_gain_above_the_discordance_raises_it():
    assert forecast(gate(0.0), 100, discordance=0.1, hoped_gain=0.4).pass_if_hoped > 0.99


def test_hoping_for_no_more_than_the_margin_needs_more_items_than_there_are():
    got = forecast(gate(0.05), 200, hoped_gain=0.05)
    assert got.items_needed is None
    assert "No number of items" in got.summary


def test_a_required_gain_without_a_hope_names_no_item_count():
    got = forecast(gate(0.05), 200)
    assert (got.needed_at, got.items_needed, got.hoped_gain, got.pass_if_hoped) == (None, None, None, None)


def test_hoping_for_less_than_the_margin_is_not_told_that_it_can_pass():
    got = forecast(gate(0.05), 200, hoped_gain=0.01)
    assert got.items_needed is None


def test_five_items_cannot_show_half_a_scale():
    assert forecast(gate(0.5), 5).detectable is None


@pytest.mark.parametrize(("n", "options"), [(0, {}), (10, {"discordance": 1.2}), (10, {"hoped_gain": 2.0})])
def test_a_forecast_out_of_range_is_refused(n, options):
    with pytest.raises(ValueError, match="forecast wants"):
        forecast(gate(), n, **options)


# ---------------------------------------------------------------------------------- docs


def test_the_worked_example_in_the_docs_gives_the_numbers_it_shows():
    code, shown = re.search(r"```python\n(.*?)```\n+prints\n+```text\n(.*?)```", DOCS.read_text(), re.DOTALL).groups()
    printed: list[str] = []
    exec(code, {"print": lambda *parts: printed.append(" ".join(map(str, parts)))})  # noqa: S102
    assert printed == shown.strip().splitlines()
