"""Win rates: pairwise judgements as paired samples, ties counted as half."""

import pytest

from harness import stats
from harness.compare import Judgement, Pairs, preferences, win_rate
from harness.errors import UsageError


def judged(outcomes: list[str], **more: object) -> Pairs:
    judgements = [Judgement(id=str(i), outcome=outcome, **more) for i, outcome in enumerate(outcomes)]
    return preferences(judgements, suite="chat", candidate="tuned", reference="base")


def test_the_win_rate_counts_ties_as_half():
    record = judged(["won"] * 50 + ["tied"] * 20 + ["lost"] * 30).record()
    rate = win_rate(record.difference)
    assert rate.value == pytest.approx((50 + 20 / 2) / 100)
    assert (record.won, record.tied, record.lost) == (50, 20, 30)
    assert (record.difference.low, record.difference.high) == stats.tango_interval(50, 30, 100, 0.95)
    assert (rate.low, rate.high) == ((1 + record.difference.low) / 2, (1 + record.difference.high) / 2)


def test_ten_judgements_that_all_tie_prove_nothing():
    rate = win_rate(judged(["tied"] * 10).record().difference)
    assert rate.value == 0.5
    assert rate.low < 0.4
    assert rate.high > 0.6


def test_a_judge_without_a_verdict_leaves_the_item_unscored():
    pairs = judged(["won", "unscored", "lost", "won"])
    assert (pairs.n, pairs.unscored) == (3, 1)
    assert pairs.interval(0.95, "lost").value == 0.0


def test_an_item_judged_both_ways_round_counts_once():
    both = [Judgement(id=str(i), repeat=r, outcome="won" if r else "lost") for i in range(20) for r in (0, 1)]
    record = preferences(both, suite="chat", candidate="tuned", reference="base").record()
    assert (record.difference.n, record.difference.value, record.repeats, record.tied) == (20, 0.0, 2, 20)


def test_judgements_of_one_conversation_stay_together():
    turns = [Judgement(id=str(i), outcome="won" if i // 5 % 2 else "lost", cluster=str(i // 5)) for i in range(100)]
    clustered = preferences(turns, suite="chat", candidate="tuned", reference="base").interval(0.95)
    alone = judged([turn.outcome for turn in turns]).interval(0.95)
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)


def test_a_judgement_given_twice_is_refused():
    twice = [Judgement(id="a", outcome="won"), Judgement(id="a", outcome="lost")]
    with pytest.raises(UsageError, match="item 'a', repeat 0 was judged twice"):
        preferences(twice, suite="chat", candidate="tuned", reference="base")
