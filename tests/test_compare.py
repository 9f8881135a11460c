"""Comparison: joined on task, id and repeat, or refused with the field and both values."""

import math
import time

import pytest
from scored_runs import CONDITIONS, GREEDY, compared, run, sample, scores

from harness.compare import compare, flips, join
from harness.errors import NotComparableError, UsageError
from harness.records import Constraint, Decoding, Item, Message, Prompt, RunRecord, SampleRecord
from harness.suites import Suite, Task


def refusal(new_run: RunRecord, new: list[SampleRecord], old_run: RunRecord, old: list[SampleRecord]) -> str:
    with pytest.raises(NotComparableError) as caught:
        compare(new_run, new, old_run, old)
    return str(caught.value)


# ----------------------------------------------------------------------------- joining


def test_items_are_joined_by_id_whatever_their_order():
    new, old = scores([1, 1, 1, 0]), scores([1, 0, 0, 1])
    got = compared(new[::-1], old)
    assert (got.won, got.lost, got.tied, got.difference.value) == (2, 1, 1, 0.25)
    assert (got.candidate_mean, got.reference_mean, got.difference.method) == (0.75, 0.5, "tango")
    assert (got.candidate, got.reference) == ("tuned--task--test", "base--task--test")


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_an_item_unscored_on_either_side_is_left_out_and_counted(missing, side):
    sides = [scores([1, 1, 0, 1]), scores([0, 1, 0, 1])]
    sides[side][0] = sample("00000", missing)
    got = compared(*sides)
    assert (got.unscored, got.difference.n, got.difference.value) == (1, 3, 0.0)


def test_a_failed_call_without_any_score_is_unscored():
    new, old = scores([1, 1]), scores([1, 0])
    new[0] = sample("00000", None, scores={}, answer=None, error="timeout")
    assert compared(new, old).unscored == 1


def test_nothing_scored_gives_no_number():
    got = compared(scores([None, None]), scores([1, 1]))
    assert (got.difference.value, got.difference.n, got.candidate_mean, got.unscored) == (None, 0, None, 2)


def test_repeats_are_averaged_before_items_are_counted():
    new = [sample("a", s, repeat=r) for r, s in enumerate([1, 0])] + [sample("b", 1, repeat=r) for r in (0, 1)]
    old = [sample(id, 0, repeat=r) for id in "ab" for r in (0, 1)]
    got = compared(new, old)
    assert (got.difference.n, got.difference.value) == (2, 0.75)
    assert got.difference.method != "tango"


def test_an_item_with_one_unscored_repeat_is_left_out_and_counted():
    new = [sample("a", s, repeat=r) for r, s in enumerate([1, None])] + [sample("b", 1, repeat=r) for r in (0, 1)]
    old = [sample(id, 0, repeat=r) for id in "ab" for r in (0, 1)]
    assert (compared(new, old).unscored, compared(new, old).difference.n) == (1, 1)


def test_clusters_widen_the_interval():
    new = [sample(str(i), (i // 5) % 2, cluster=f"p{i // 5}") for i in range(100)]
    old = [sample(str(i), 0.0, cluster=f"p{i // 5}") for i in range(100)]
    alone = [s.model_copy(update={"cluster": None}) for s in new], [s.model_copy(update={"cluster": None}) for s in old]
    wide, narrow = compared(new, old).difference, compared(*alone).difference
    assert wide.method.startswith("cluster-t")
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_all_tasks_count_each_with_its_own_first_metric():
    new = [sample("a", 1), sample("a", 0.5, task="u", metric="f1")]
    old = [sample("a", 0), sample("a", 0.5, task="u", metric="f1")]
    primary = {"t": "acc", "u": "f1"}
    got = compare(run(new, primary=primary), new, run(old, "base", primary=primary), old)
    assert (got.task, got.metric, got.difference.n, got.difference.value) == ("*", "primary", 2, 0.5)


def test_one_task_and_one_metric_can_be_picked():
    new = [sample("a", 1), sample("a", 0, task="u", scores={"acc": 0, "f1": 0.5})]
    old = [sample("a", 0), sample("a", 0, task="u", scores={"acc": 0, "f1": 0.25})]
    got = compared(new, old, task="u", metric="f1")
    assert (got.task, got.metric, got.difference.n, got.difference.value) == ("u", "f1", 1, 0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "tt"}, "unknown task 'tt'. Did you mean 't'? Known: *, t."),
        ({"metric": "ac"}, "task t: unknown metric 'ac'. Did you mean 'acc'? Known: acc, corpus_bleu,"),
        ({"metric": "latency_p99_s"}, "Did you mean 'latency_p95_s'?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(options, message):
    with pytest.raises(UsageError) as caught:
        compared(scores([1]), scores([0]), **options)
    assert message in str(caught.value)


def test_a_metric_that_only_some_tasks_have_is_refused_for_all_tasks():
    rows = [sample("a", 1), sample("a", 1, task="u", metric="f1")]
    one = run(rows, primary={"t": "acc", "u": "f1"})
    with pytest.raises(UsageError, match="task u: unknown metric 'acc'"):
        compare(one, rows, one, rows, metric="acc")


# ----------------------------------------------------------------------------- refusing


def suite(metrics: tuple[str, ...] = ("acc",), max_tokens: int = 64, text: str | None = None) -> Suite:
    turns = () if text else (Message(role="user", content="q"),)
    item = Item(id="a", messages=turns, text=text, target="yes")
    return Suite("s", "task", "test", (Task("t", "generate", (item,), metrics, Decoding(max_tokens=max_tokens)),))


@pytest.mark.parametrize("other", [suite(metrics=("acc", "f1")), suite(max_tokens=512)])
def test_what_decides_nothing_leaves_runs_comparable(other):
    assert other.fingerprint == suite().fingerprint


@pytest.mark.parametrize("other", [suite(metrics=("f1",)), suite(text="q"), suite(text="q", max_tokens=512)])
def test_what_is_asked_or_judged_otherwise_is_another_suite(other):
    assert other.fingerprint not in (suite().fingerprint, suite(text="r").fingerprint)
    assert suite(text="q").fingerprint != suite(text="q", max_tokens=512).fingerprint


def test_a_metric_that_only_one_run_measured_is_refused_by_its_name():
    new, old = scores([1], scores={"acc": 1, "f1": 1}), scores([1])
    with pytest.raises(NotComparableError, match="base--task--test: 'f1' was not measured on task t"):
        compared(new, old, metric="f1")


@pytest.mark.parametrize(
    ("field", "value"),
    [("suite", "other"), ("split", "dev"), ("fingerprint", "f2"), ("primary", {"t": "f1"})],
)
def test_runs_of_other_items_are_refused(field, value):
    rows = scores([1, 0])
    text = refusal(run(rows, **{field: value}), rows, run(rows, "base"), rows)
    assert f"{field} differs: {value!r} against" in text


@pytest.mark.parametrize(
    ("field", "value"),
    [("engine", "transformers"), ("engine_version", "0.23"), ("dtype", "float16"), ("device", "cpu"),
     ("chat_template_digest", None), ("flags", {"tp": "2"})],
)  # fmt: skip
def test_runs_under_other_conditions_are_refused(field, value):
    rows = scores([1, 0])
    other = CONDITIONS.model_copy(update={field: value})
    text = refusal(run(rows, conditions=other), rows, run(rows, "base"), rows)
    shown = (
        "conditions.flags.tp differs: '2' against '1'" if field == "flags" else f"conditions.{field} differs: {value!r}"
    )
    assert shown in text


@pytest.mark.parametrize(
    ("mine", "theirs", "field"),
    [
        (Decoding(temperature=0.7), GREEDY, "temperature"),
        (Decoding(stop=("\n",)), GREEDY, "stop"),
        (Decoding(temperature=0.7, top_p=0.9), Decoding(temperature=0.7), "top_p"),
    ],
)
def test_other_decoding_is_refused(mine, theirs, field):
    rows = scores([1, 0])
    text = refusal(run(rows, decoding=mine), rows, run(rows, "base", decoding=theirs), rows)
    assert f"decoding.{field} differs" in text


def test_a_prompt_that_reasons_first_may_have_other_stops():
    rows, reasons = scores([1, 0]), Prompt(name="cot", instruction="", answer_after="Answer:")
    mine, theirs = run(rows, prompt=reasons), run(rows, "base", decoding=Decoding(stop=("\n",)))
    assert compare(mine, rows, theirs, rows).tied == 2


CHOICE = Decoding(constraint=Constraint(choices=("yes", "no")))


@pytest.mark.parametrize("mine", [Decoding(max_tokens=512), Decoding(seed=7), Decoding(top_p=0.5), CHOICE])
def test_decoding_that_cannot_favour_a_side_may_differ(mine):
    rows = scores([1, 0])
    assert compare(run(rows, decoding=mine), rows, run(rows, "base"), rows).tied == 2


def test_all_differences_are_told_at_once():
    rows = scores([1, 0])
    other = run(rows, split="dev", conditions=CONDITIONS.model_copy(update={"device": "cpu"}))
    assert refusal(other, rows, run(rows, "base"), rows).count("differs") == 2


def test_another_text_under_one_id_is_refused():
    new, old = scores([1, 0]), scores([1, 0])
    new[1] = sample("00001", 0, item_digest="changed")
    assert "t/00001.item_digest differs: 'changed' against 'd-t-00001'" in refusal(run(new), new, run(old, "base"), old)


@pytest.mark.parametrize("side", [0, 1])
def test_samples_missing_on_one_side_are_refused(side):
    full = scores([1, 0, 1])
    sides = [full, full]
    sides[side] = full[:2]
    text = refusal(run(sides[0]), sides[0], run(sides[1], "base"), sides[1])
    assert "1 samples are missing, the first is t/00002" in text


def test_an_incomplete_run_is_refused_even_when_both_sides_lack_the_same():
    rows = scores([1, 0])
    assert "incomplete: n is 5" in refusal(run(rows, n=5), rows, run(rows, "base", n=5), rows)


def test_a_sample_given_twice_is_refused():
    rows = scores([1, 0])
    twice = [*rows, rows[0]]
    assert "3 samples hold only 2 different" in refusal(run(twice), twice, run(rows, "base"), rows)


# ----------------------------------------------------------------------- seeds and flips


def test_seeds_are_averaged_item_by_item():
    first, second, old = scores([1, 1]), scores([0, 1]), scores([0, 0])
    got = join([(run(first, "s0"), first), (run(second, "s1"), second)], (run(old, "base"), old)).record()
    assert (got.candidate, got.difference.value) == ("s0--task--test+s1--task--test", 0.75)


def test_a_seed_made_under_other_conditions_is_named():
    rows = scores([1, 1])
    odd = run(rows, "s1", conditions=CONDITIONS.model_copy(update={"dtype": "float32"}))
    with pytest.raises(NotComparableError, match="s1--task--test against base--task--test: conditions"):
        join([(run(rows, "s0"), rows), (odd, rows)], (run(rows, "base"), rows))


def test_no_seeds_are_a_usage_error():
    rows = scores([1])
    with pytest.raises(UsageError, match="no candidate runs"):
        join([], (run(rows), rows))


def test_flips_show_both_answers_and_the_lost_first():
    new = [sample("a", 1, answer="yes"), sample("b", 0, answer="no"), sample("c", 1), sample("d", None)]
    old = [sample("a", 0, answer="no"), sample("b", 1, answer="yes"), sample("c", 1), sample("d", 1)]
    old[0] = old[0].model_copy(update={"reasoning": "It was late."})
    lost, won = flips(new, old, {"t": "acc"})
    assert (lost.id, lost.direction, lost.candidate_answer, lost.reference_answer) == ("b", "lost", "no", "yes")
    assert (won.id, won.direction) == ("a", "won")
    assert (won.candidate_reasoning, won.reference_reasoning) == (None, "It was late.")


def test_flips_are_counted_as_the_comparison_counts_them_and_the_largest_come_first():
    new = [sample("a", 0.5), sample("b", 0.9), sample("c", 0.3), sample("d", math.nan), sample("e", 0.7)]
    old = [sample("a", 0.4), sample("b", 0.1), sample("c", 0.4), sample("d", 0.1), sample("e", 0.7)]
    record = compared(new, old)
    found = [(flip.direction, flip.id) for flip in flips(new, old, {"t": "acc"})]
    assert found == [("lost", "c"), ("won", "b"), ("won", "a")]
    assert (record.won, record.lost, record.tied, record.unscored) == (2, 1, 1, 1)


def test_a_hundred_thousand_clustered_samples_are_no_matter_of_minutes():
    new = [sample(str(i), float(i % 3 == 0), cluster=f"p{i // 4}") for i in range(100_000)]
    old = [s.model_copy(update={"scores": {"acc": float(i % 4 == 0)}}) for i, s in enumerate(new)]
    runs = run(new), run(old, "base")
    started = time.process_time()
    assert compare(runs[0], new, runs[1], old).difference.n == 100_000
    assert time.process_time() - started < 30  # of CPU, for half a second: slow machines have room, squares have not
