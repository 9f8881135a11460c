"""One gate: the truth table, no vacuous pass, every kind of rule, and reasons that keep their word."""

import math
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import ONCE, candidate, gate, judged, table, values
from pydantic import ValidationError
from scored_runs import run, sample

from harness.compare import Prices
from harness.errors import UsageError
from harness.gates import Entrant, GateSpec, PolicySpec, choose, decide, gather, judge
from harness.records import GateRecord


def outcome_of(name: str, blocking: bool = True) -> GateRecord:
    return GateRecord(
        suite="s", task="*", metric="primary", against="base", min_delta=0, blocking=blocking, outcome=name, reason="",
        comparison=None,
    )  # fmt: skip


# ------------------------------------------------------------------------------ one gate


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40), st.floats(-0.4, 0.4))
def test_a_gate_follows_its_formula(gained, lost, right, margin):
    got = judged(gate(margin), table(gained, lost, 100, right))
    if gained == lost == right == 0:
        assert got.outcome == "inconclusive"
    else:
        assert got.outcome == ("pass" if got.low > margin else "fail" if got.high < margin else "inconclusive")


@pytest.mark.parametrize("right", [4, 10])
def test_ten_identical_items_are_inconclusive_at_a_one_point_margin(right):
    got = judged(gate(-0.01), table(0, 0, 10, right))
    assert got.outcome == "inconclusive"
    assert "n = 10" in got.reason
    assert got.high - got.low > 0.5


def test_many_identical_items_pass_at_a_one_point_margin():
    assert judged(gate(-0.01), table(0, 0, 1000, right=400)).outcome == "pass"


def test_a_suite_that_both_sides_solve_wholly_can_pass_with_enough_items():
    assert judged(gate(-0.01), table(0, 0, 1000, right=1000)).outcome == "pass"


def test_the_level_of_the_look_moves_only_the_end_that_shows_a_pass():
    first, later = (judged(gate(0.0), table(30, 12, 300, 100), level=level) for level in (0.025, 0.001))
    assert later.low < first.low
    assert later.high == first.high
    assert (first.outcome, later.outcome) == ("pass", "inconclusive")
    assert "one-sided error of a pass 0.1%, of a fail 2.5%" in later.reason


def test_with_no_level_left_nothing_passes_but_a_loss_still_fails():
    spent = judged(gate(0.0), table(60, 2, 300, 100), level=0.0)
    assert (spent.outcome, spent.low) == ("inconclusive", None)
    assert "test split is spent" in spent.reason
    assert judged(gate(0.0), table(2, 60, 300, 100), level=0.0).outcome == "fail"


# ------------------------------------------------------------------------ no vacuous pass


@pytest.mark.parametrize(
    ("sides", "reason"),
    [
        (table(0, 0, 0, missing=40), "None of 40 items has a score"),
        (table(20, 0, 97, 10, missing=3), "3 of 100 items (3.0%) have no score, more than the 2.0% allowed"),
        (table(0, 0, 500, right=0), "Every score is 0 on both sides"),
        (values([5.0] * 9, [5.0] * 9), "every score is the same"),
        (values([math.nan, math.inf, None], [1, 1, 1]), "None of 3 items has a score"),
    ],
)
def test_without_evidence_a_gate_is_inconclusive_and_says_why(sides, reason):
    got = judged(gate(-0.5), sides)
    assert got.outcome == "inconclusive"
    assert reason in got.reason


def test_one_single_cluster_shows_nothing():
    got = judged(gate(-0.5), table(20, 0, 100, 10, cluster="one passage"))
    assert got.outcome == "inconclusive"


def test_no_runs_show_nothing():
    ((got,),), _ = judge(ONCE, [gate()], [Entrant("tuned", 0.025, [None])])
    assert got.outcome == "inconclusive"
    assert "no evidence" in got.reason


def test_unscored_items_at_the_allowed_share_still_let_the_gate_decide():
    assert judged(gate(-0.5), table(10, 0, 98, 20, missing=2)).outcome == "pass"


@pytest.mark.parametrize(("gained", "lost", "margin", "outcome"), [(6, 0, -0.01, "pass"), (0, 40, -0.01, "fail")])
def test_items_without_a_score_can_undo_a_pass_or_a_fail(gained, lost, margin, outcome):
    assert judged(gate(margin), table(gained, lost, 500, 200)).outcome == outcome
    got = judged(gate(margin, max_unscored=0.1), table(gained, lost, 500, 200, missing=40))
    assert got.outcome == "inconclusive"
    assert re.search(r"40 of 540 items have no score, and were they all (lost|won) it would reach", got.reason)
    assert "another experiment name" in got.reason


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 5), st.floats(-0.3, 0.3))
def test_a_verdict_with_unscored_items_is_the_one_of_every_way_they_could_have_come_out(gained, lost, missing, margin):
    told = judged(gate(margin, max_unscored=1), table(gained, lost, 60, right=20, missing=missing)).outcome
    for won in range(missing + 1):
        complete = judged(gate(margin), table(gained + won, lost + missing - won, 60 + missing, right=20)).outcome
        assert told in ("inconclusive", complete)


@pytest.mark.parametrize("side", [1, -1])
def test_real_scores_reach_as_far_as_their_completed_data(side):
    ours = [0.5 + side * (0.2 + 0.01 * (i % 7)) for i in range(200)]
    whole = judged(gate(0.0), values(ours, [0.5] * 200))
    torn = values([*ours, *[None] * 4], [0.5] * 204)
    worst = judged(gate(0.0), values([*ours, *[float(side < 0)] * 4], [*[0.5] * 200, *[float(side > 0)] * 4]))
    end, worst_end = (whole.low, worst.low) if side > 0 else (whole.high, worst.high)
    assert abs(worst_end) < abs(end)
    assert judged(gate((end + worst_end) / 2), torn).outcome == "inconclusive"
    assert judged(gate(worst_end - side * 0.01), torn).outcome == ("pass" if side > 0 else "fail")


# ------------------------------------------------------------------- relative margins


def test_a_relative_margin_is_a_share_of_the_references_score():
    sides = table(10, 14, 1000, 190)  # the reference has 204 right, the candidate 200: two percent fewer
    assert judged(gate(-0.02), sides).outcome == "pass"
    assert judged(gate(-0.02, relative=True), sides).outcome == "inconclusive"
    got = judged(gate(-0.2, relative=True), sides)
    assert got.outcome == "pass"
    assert "0.8 times the reference" in got.reason
    assert got.comparison.factor == 0.8


def test_a_relative_margin_on_latency_allows_so_much_more():
    def sides(slower: float):
        new = [sample(f"{i:04d}", 1, latency_s=slower * (1 + 0.1 * math.sin(i))) for i in range(200)]
        return new, [sample(f"{i:04d}", 1, latency_s=1 + 0.1 * math.sin(i + 1)) for i in range(200)]

    spec = gate(-0.2, relative=True, metric="latency_mean_s")
    assert [judged(spec, sides(slower)).outcome for slower in (1.1, 1.2, 1.3)] == ["pass", "inconclusive", "fail"]


# ---------------------------------------------------------------- limits and must-not-break


@pytest.mark.parametrize(
    ("right", "limit", "outcome"), [(95, 0.8, "pass"), (80, 0.8, "inconclusive"), (60, 0.8, "fail")]
)
def test_a_lower_limit_holds_the_candidates_own_score(right, limit, outcome):
    got = judged(gate(None, at_least=limit), table(0, 0, 100, right))
    assert got.outcome == outcome
    assert (got.against, got.min_delta, got.limit, got.estimate.value) == (None, None, limit, right / 100)
    assert got.low < right / 100 < got.high


@pytest.mark.parametrize(("seconds", "outcome"), [(1.0, "pass"), (2.0, "inconclusive"), (3.0, "fail")])
def test_an_upper_limit_holds_latency(seconds, outcome):
    side = [sample(f"{i:04d}", 1, latency_s=seconds * (1 + 0.2 * math.sin(i * i))) for i in range(400)]
    got = judged(gate(None, at_most=2.39 if outcome == "inconclusive" else 2.0, metric="latency_p95_s"), (side, side))
    assert got.outcome == outcome
    assert "points" not in got.reason


def test_latency_that_was_not_measured_is_no_low_latency():
    side = [sample(f"{i:04d}", 1) for i in range(50)]
    got = judged(gate(None, at_most=2.0, metric="latency_p95_s"), (side, side))
    assert got.outcome == "inconclusive"
    assert "None of 50 items has a score" in got.reason


def test_a_limit_on_cost_needs_prices_and_counts_tokens():
    side = [sample(f"{i:04d}", 1, tokens_in=1000 + i % 5, tokens_out=100) for i in range(50)]
    spec = gate(None, at_most=3.0, metric="cost_per_1000_requests")
    assert judged(spec, (side, side), prices=Prices(input=2.0, output=5.0)).outcome == "pass"
    assert judged(spec, (side, side), prices=Prices(input=4.0, output=5.0)).outcome == "fail"
    with pytest.raises(UsageError, match="input_price"):
        judged(spec, (side, side))


@pytest.mark.parametrize(
    ("scores", "outcome", "reason"),
    [
        ([1, 1, 1], "pass", "All 3 items that must not break are right."),
        ([1, 0, 1], "fail", "1 of 3 items that must not break are wrong: 00001."),
        ([1, None, 1], "inconclusive", "1 of 3 items that must not break have no score"),
        ([0, None, 1], "fail", "1 of 3"),
        ([], "inconclusive", "no item"),
    ],
)
def test_items_that_must_not_break_are_all_right_or_the_gate_does_not_pass(scores, outcome, reason):
    got = judged(gate(None, must_not_break="critical.jsonl"), values(scores, scores))
    assert got.outcome == outcome
    assert reason in got.reason
    assert got.broken == tuple(f"{i:05d}" for i, s in enumerate(scores) if s == 0)


# --------------------------------------------------------------------------------- slices


def by_language(**right: tuple[int, int, int]) -> tuple[list, list]:
    """Per language: gained, lost, n."""
    sides: tuple[list, list] = ([], [])
    for language, (gained, lost, n) in right.items():
        for whole, part in zip(sides, table(gained, lost, n, n // 2, slices={"language": language}), strict=True):
            whole += [
                s.model_copy(update={"id": f"{language}-{s.id}", "item_digest": f"{language}{s.id}"}) for s in part
            ]
    return sides


def test_a_slice_is_judged_on_its_own_items():
    sides = by_language(de=(2, 30, 100), en=(60, 2, 400))
    assert judged(gate(0.0), sides).outcome != "fail"
    got = judged(gate(0.0, slice="language=de"), sides)
    assert (got.outcome, got.slice, got.comparison.difference.n) == ("fail", "language=de", 100)


def test_the_worst_slice_decides_and_every_slice_is_told():
    sides = by_language(de=(2, 30, 100), en=(60, 2, 400), fr=(1, 1, 12))
    got = judged(gate(0.0, worst_slice="language"), sides)
    assert (got.outcome, got.slice) == ("fail", "worst of language")
    assert [(one.slice, one.outcome) for one in got.slices] == [
        ("language=de", "fail"), ("language=fr", "inconclusive"), ("language=en", "pass")
    ]  # fmt: skip
    assert "Worst is language=de" in got.reason


def test_a_slice_with_too_few_items_keeps_the_worst_slice_from_passing():
    sides = by_language(en=(60, 2, 400), fr=(1, 0, 3))
    assert judged(gate(0.0, worst_slice="language"), sides).outcome == "inconclusive"


def test_an_unknown_slice_is_told_with_those_there_are():
    with pytest.raises(UsageError, match=r"unknown value 'du' of language. Known: de"):
        judged(gate(0.0, slice="language=du"), by_language(de=(1, 1, 10)))


# -------------------------------------------------------------------------------- reasons


def test_a_reason_gives_the_numbers_in_points():
    got = judged(gate(0.02), table(40, 10, 400, 200))
    assert re.fullmatch(
        r"Difference \+7\.5 points \(95% interval \+4\.\d to \+1\d\.\d, n = 400, tango\): "
        r"all of it lies above the margin of \+2\.0\.",
        got.reason,
    )


def test_a_metric_that_is_no_share_is_not_told_in_points():
    reason = judged(gate(0.5), values([3.0, 4.5, 2.0, 8.0], [3.0, 4.0, 2.5, 7.0])).reason
    assert "points" not in reason


@pytest.mark.parametrize(
    ("gained", "lost", "n", "margin", "outcome"),
    [(8, 12, 200, -0.05, "pass"), (3, 4, 60, -0.1, "pass"), (12, 9, 100, 0.1, "fail"), (9, 2, 100, 0.02, "pass")],
)
def test_the_number_of_items_that_would_settle_a_gate_does_settle_it(gained, lost, n, margin, outcome):
    got = judged(gate(margin), table(gained, lost, n, right=20))
    assert got.outcome == "inconclusive"
    needed = int(re.search(r"about ([\d,]+) items would settle it", got.reason)[1].replace(",", ""))
    assert needed > n
    more = table(round(gained * needed / n), round(lost * needed / n), needed, right=20)
    assert judged(gate(margin), more).outcome == outcome


def repeated(repeats: int, items: int = 60):
    """Both sides answer every item by the toss of a coin, the candidate's a little better."""
    luck = random.Random(3)
    sides = [
        [sample(f"{i:04d}", float(luck.random() < odds), repeat=r) for i in range(items) for r in range(repeats)]
        for odds in (0.64, 0.5)
    ]
    return sides[0], sides[1]


def test_where_answers_vary_repeats_would_settle_it_too_and_do():
    got = judged(gate(0.0), repeated(2))
    assert got.outcome == "inconclusive"
    needed = int(re.search(r"or (\d+) repeats of each", got.reason)[1])
    assert 3 <= needed <= 20
    assert judged(gate(0.0), repeated(2 * needed)).outcome == "pass"


def test_without_repeats_none_are_promised():
    assert "repeats" not in judged(gate(0.0), table(20, 15, 200, 100)).reason


def test_at_the_margin_no_number_of_items_would_settle_it():
    got = judged(gate(0.05), table(20, 10, 200, 50))
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
    assert decide([outcome_of(name) for name in outcomes])[0] == decision


def test_advisory_gates_alone_promote_nothing():
    decision, reason = decide([outcome_of("pass", blocking=False)])
    assert decision == "inconclusive"
    assert "No blocking gate" in reason


def test_a_failed_advisory_gate_does_not_reject():
    assert decide([outcome_of("pass"), outcome_of("fail", blocking=False)])[0] == "promote"


def test_the_reason_names_the_gates_that_decided():
    assert decide([outcome_of("pass"), outcome_of("fail")])[1] == "1 of 2 blocking gates failed: s vs base."


@pytest.mark.parametrize(
    ("decisions", "chosen"),
    [(["reject", "promote", "promote"], 1), (["reject", "inconclusive"], 1), (["reject", "reject"], 0)],
)
def test_the_first_finalist_that_is_promoted_is_chosen(decisions, chosen):
    assert choose(decisions) == chosen


# ----------------------------------------------------------------------------------- spec


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"min_delta": 0.1, "at_least": 0.9},
        {"min_delta": "much"},
        {"min_delta": 0.1, "margin": 0.1},
        {"min_delta": 0.1, "max_unscored": -0.1},
        {"min_delta": 0.1, "slice": "language"},
        {"min_delta": 0.1, "slice": "a=b", "worst_slice": "a"},
        {"min_delta": -1.0, "relative": True},
        {"at_least": 0.9, "relative": True},
        {"at_least": 0.9, "against": "best_prompt"},
        {"must_not_break": "a.jsonl", "metric": "f1"},
        {"min_delta": 0.1, "tier": "optional"},
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(given: dict[str, Any]):
    with pytest.raises(ValidationError):
        GateSpec(**given)


def test_runs_of_a_recipe_answer_what_must_not_break_with_every_seed():
    seeds = [candidate(values(scores, scores)[0], seed) for seed, scores in enumerate([[1, 1], [1, 0]])]
    spec = gate(None, must_not_break="critical.jsonl")
    evidence = gather(spec, seeds, None, "recipe", None)
    ((got,),), _ = judge(PolicySpec(claim="recipe"), [spec], [Entrant("tuned", 0.025, [evidence])])
    assert (got.outcome, got.broken) == ("fail", ("00001",))


def test_a_limit_on_a_recipe_holds_for_every_seed():
    seeds = [candidate(table(0, 0, 100, right)[0], seed) for seed, right in enumerate([95, 60])]
    spec = gate(None, at_least=0.8)
    evidence = gather(spec, seeds, None, "recipe", None)
    ((got,),), _ = judge(PolicySpec(claim="recipe"), [spec], [Entrant("tuned", 0.025, [evidence])])
    assert got.outcome == "fail"
    assert [(one.slice, one.outcome) for one in got.slices] == [("seed=1", "fail"), ("seed=0", "pass")]


def recipe(seeds: list[int], n: int = 400) -> GateRecord:
    """Seeds that gained so many of n items each."""
    spec, (_, old) = gate(0.0), table(0, 0, n, n // 4)
    runs = [candidate(table(gained, 0, n, n // 4)[0], seed) for seed, gained in enumerate(seeds)]
    evidence = gather(spec, runs, (run(old, "base"), old), "recipe", None)
    ((got,),), _ = judge(PolicySpec(claim="recipe"), [spec], [Entrant("tuned", 0.025, [evidence])])
    return got


def test_a_recipe_is_judged_over_seeds_and_says_how_many_would_settle_it():
    got = recipe([40, 60])
    assert got.outcome == "inconclusive"
    assert (got.comparison.claim, got.comparison.seeds) == ("recipe", 2)
    needed = int(re.search(r"about (\d+) seeds would settle it", got.reason)[1])
    assert 3 <= needed <= 10
    assert recipe([40, 60] * ((needed + 1) // 2)).outcome == "pass"


def test_more_items_are_asked_for_where_seeds_agree():
    assert "items would settle it" in recipe([3, 3, 3], 100).reason


def test_a_loss_of_speed_is_told_as_more_seconds():
    new, old = ([sample(f"{i:04d}", 1, latency_s=s + 0.1 * math.sin(i)) for i in range(200)] for s in (1.5, 1.0))
    got = judged(gate(-0.2, metric="latency_mean_s"), (new, old))
    assert got.outcome == "fail"
    assert "Difference +0.5 (" in got.reason
    assert "all of it lies above the margin of +0.2" in got.reason


def batched(seconds: list[float], size: int) -> list:
    """Answers of batches: each answer of one has the batch's seconds."""
    return [sample(f"{at * size + i:04d}", 1, latency_s=s) for at, s in enumerate(seconds) for i in range(size)]


def test_answers_of_one_batch_are_one_piece_of_evidence():
    luck = random.Random(0)
    seconds = [[luck.gauss(mean, 0.2) for _ in range(12)] for mean in (1.0, 1.1)]
    together = judged(gate(0.0, metric="latency_mean_s"), (batched(seconds[0], 16), batched(seconds[1], 16)))
    alone = judged(gate(0.0, metric="latency_mean_s"), (batched(seconds[0], 1), batched(seconds[1], 1)))
    assert together.comparison.difference.method.startswith("cluster-t")
    assert together.high - together.low > 0.8 * (alone.high - alone.low)


@pytest.mark.parametrize("metric", ["latency_p95_s", "latency_mean_s", "tokens_out"])
def test_seconds_that_were_not_taken_could_have_been_any(metric):
    side = [sample(f"{i:04d}", 1, latency_s=1 + i / 5000, tokens_out=5 + i % 3) for i in range(400)]
    limit = gate(None, at_most=50.0, metric=metric)
    assert judged(limit, (side, side)).outcome == "pass"
    torn = [*side, *(sample(f"x{i}", None, error="timeout") for i in range(4))]
    got = judged(limit, (torn, torn))
    assert got.outcome == "inconclusive"
    assert "4 of 404 items have no score and could have been anything" in got.reason


def test_a_percentile_of_averaged_repeats_is_refused():
    side = [sample(f"{i:04d}", 1, repeat=r, latency_s=1.0 + r) for i in range(50) for r in (0, 1)]
    with pytest.raises(UsageError, match="repeats an item are averaged"):
        judged(gate(None, at_most=5.0, metric="latency_p95_s"), (side, side))
