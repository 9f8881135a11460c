"""How gates and verdicts are worded: demands, units, the ends that decided."""

from __future__ import annotations

from typing import Any

import pytest

from harness.evidence import decided_by, demand, drawn_margin, family_words, gate_name, look_words, threshold
from harness.records import ComparisonRecord, Family, GateRecord, Interval, LookRecord

SPREAD: dict[str, Any] = {"confidence": 0.95, "n": 200, "method": "tango"}


def compared(
    metric: str = "primary", *, less: bool = False, factor: float = 1.0, mean: float = 0.7
) -> ComparisonRecord:
    """A difference of 0.06, better for the candidate."""
    return ComparisonRecord(
        suite="task",
        task="*",
        metric=metric,
        higher_is_better=not less,
        candidate="tuned--task--test",
        reference="base--task--test",
        candidate_mean=mean,
        reference_mean=mean,
        factor=factor,
        difference=Interval(value=0.06, low=0.01, high=0.11, **SPREAD),
        won=20,
        lost=8,
        tied=172,
        unscored=0,
    )


def gate(min_delta: float | None = None, comparison: ComparisonRecord | None = None, **fields: Any) -> GateRecord:
    """A gate on the task against base; a difference where there is a margin."""
    told: dict[str, Any] = {"suite": "task", "task": "*", "metric": "primary", "blocking": True, "outcome": "pass"}
    told |= {"against": None if min_delta is None else "base", "reason": "", "comparison": comparison}
    return GateRecord(min_delta=min_delta, **told | fields)


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (gate(0.05, compared()), "gain of at least 5 points over base"),
        (gate(-0.01, compared()), "may lose at most 1 point against base"),
        (gate(0.0, compared()), "better than base"),
        (gate(0.05), "gain of at least 5 points over base"),
        (gate(0.05, compared("f1"), metric="f1"), "gain of at least 5 points over base in f1"),
        (gate(2.0, compared("corpus_bleu", mean=31.0), metric="corpus_bleu"), "gain of at least 2 corpus_bleu"),
        (gate(-0.02, compared(factor=0.98), relative=True), "may lose at most 2 % of base's score"),
        (gate(0.1, compared(factor=1.1), relative=True), "gain of at least 10 % of base's score"),
        (gate(0.05, compared(), slice="language=de"), "gain of at least 5 points over base, slice language=de"),
        (gate(0.05, compared(), slice="worst of language"), "over base, worst slice of language"),
        (gate(0.1, compared("latency_p95_s", less=True), metric="latency_p95_s"), "at least 0.1 s lower than base's"),
        (gate(-0.1, compared("latency_p95_s", less=True), metric="latency_p95_s"), "at most 0.1 s higher than base's"),
        (
            gate(-0.1, compared("latency_p95_s", less=True, factor=1.1), metric="latency_p95_s", relative=True),
            "latency_p95_s at most 10 % higher than base's",
        ),
        (gate(rule="at_most", limit=2.0, metric="latency_p95_s"), "latency_p95_s at most 2 s"),
        (gate(rule="at_least", limit=0.9), "score at least 0.9"),
        (gate(rule="must_not_break", suite="team/critical.jsonl"), "every item of critical.jsonl right"),
    ],
)
def test_what_a_gate_demands_is_told_in_words(judged: GateRecord, said: str) -> None:
    assert said in demand(judged)


@pytest.mark.parametrize(
    ("passing", "failing", "said"),
    [
        (0.025, 0.025, "95 % interval"),
        (0.0125, 0.025 / 8, "low end at 1.25 %, high end at 0.312 % one-sided"),
        (0.0, 0.025, "no pass is left to this look"),
    ],
)
def test_how_sure_the_ends_are_is_told(passing: float, failing: float, said: str) -> None:
    judged = gate(0.05, compared(), low=0.0, high=0.12, pass_level=passing, fail_level=failing)
    assert decided_by(judged).levels == said


def test_a_limit_from_above_is_passed_by_its_high_end() -> None:
    judged = gate(rule="at_most", limit=2.0, metric="latency_p95_s", pass_level=0.01, fail_level=0.025)
    assert decided_by(judged).levels == "low end at 2.5 %, high end at 1 % one-sided"


def test_the_ends_that_decided_are_shown_and_not_the_plain_interval() -> None:
    judged = gate(0.05, compared(), low=-0.002, high=0.13, pass_level=0.0125, fail_level=0.01)
    assert decided_by(judged).shown == "+6.0 points [-0.2, +13.0]"


def test_a_difference_to_a_scaled_reference_says_so() -> None:
    assert decided_by(gate(-0.02, compared(factor=0.98), relative=True)).shown.endswith("to 0.98 × base")


def test_where_less_is_better_numbers_are_read_as_candidate_minus_reference() -> None:
    slower = gate(-0.1, compared("latency_p95_s", less=True), metric="latency_p95_s")
    assert decided_by(slower).shown == "-0.060 s [-0.110, -0.010]"
    assert (drawn_margin(slower), threshold(slower)) == (0.1, "+0.100 s")


def test_a_look_at_a_spent_split_says_what_to_do() -> None:
    spent = LookRecord(
        suite="task",
        fingerprint="",
        sketch=(),
        candidate_digest="",
        test_digest="",
        experiment="",
        candidate="",
        number=6,
        budget=5,
        spending="halving",
        alpha=0.05,
        level=0.0,
        created="",
    )
    assert look_words(spent).endswith("judge on a fresh test split")
    assert look_words(spent.model_copy(update={"number": 2, "level": 0.01})) == "look 2 of 5 at this test split"


def test_a_family_is_told_with_its_size_and_its_level() -> None:
    told = family_words(Family(correction="holm", alpha=0.025, members=("a", "b")))
    assert told == "Holm over 2 gates at 2.5 % for any wrong FAIL: a; b"


def test_a_gates_name_says_no_more_than_the_gate_does() -> None:
    assert gate_name(gate(0.05, compared())) == "task vs base"
    named = gate(0.05, compared("f1"), metric="f1", task="intents", slice="language=de")
    assert gate_name(named) == "task/intents f1 [language=de] vs base"
