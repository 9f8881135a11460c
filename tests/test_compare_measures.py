"""Latency, tokens, cost and corpus metrics: any run is compared on them, and alone."""

import math

import numpy as np
import pytest
from scored_runs import run, sample

from harness import stats
from harness.compare import MEASURES, Pairs, Prices, alone, higher_is_better, join
from harness.errors import UsageError
from harness.metrics import CORPUS_METRICS, METRICS, byte_perplexity
from harness.records import SampleRecord

PRICES = Prices(input=2.0, output=10.0)
RNG = np.random.default_rng(0)


def timed(seconds: float | None, tokens_in: int | None = 100, tokens_out: int | None = 10, n: int = 300) -> list:
    noise = RNG.lognormal(0, 0.3, n)
    return [
        sample(f"{i:03d}", 1, latency_s=seconds and seconds * x, tokens_in=tokens_in, tokens_out=tokens_out)
        for i, x in enumerate(noise)
    ]


def joined(new: list[SampleRecord], old: list[SampleRecord], **options: object) -> Pairs:
    return join([(run(new), new)], (run(old, "base"), old), **options)


# ----------------------------------------------------------------------- measures


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_every_measure_is_better_when_less(name):
    fast, slow = timed(0.5, 50, 5), timed(2.0, 100, 10)
    record = joined(fast, slow, metric=name, prices=PRICES).record()
    assert not record.higher_is_better
    assert not higher_is_better(name)
    assert record.candidate_mean < record.reference_mean
    assert record.difference.value == pytest.approx(record.reference_mean - record.candidate_mean)
    assert record.difference.low <= record.difference.value <= record.difference.high
    assert record.won > record.lost
    assert name not in METRICS
    assert name not in CORPUS_METRICS
    assert MEASURES[name].summary.endswith(".")


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_what_was_not_measured_is_unscored_and_never_zero(name):
    new, old = timed(None, None, None), timed(1.0)
    pairs = joined(new, old, metric=name, prices=PRICES)
    assert (pairs.n, pairs.unscored, pairs.interval(0.95).value) == (0, 300, None)


def test_a_call_that_failed_at_once_was_not_fast():
    new, old = timed(1.0), timed(1.0)
    new[0] = new[0].model_copy(update={"error": "refused", "latency_s": 0.001})
    assert joined(new, old, metric="latency_mean_s").unscored == 1


def test_a_slower_candidate_may_take_a_share_more():
    new, old = timed(1.05), timed(1.0)
    record = joined(new, old, metric="latency_mean_s", factor=1.5).record()
    assert record.difference.value == pytest.approx(1.5 * record.reference_mean - record.candidate_mean)
    assert record.difference.low > 0


def test_cost_is_that_of_a_thousand_requests():
    new = timed(1.0, tokens_in=1000, tokens_out=100, n=10)
    assert alone((run(new), new), metric="cost_per_1000_requests", prices=PRICES).interval(0.95).value == 3.0


def test_cost_without_prices_names_the_keys_to_give():
    new = timed(1.0)
    with pytest.raises(UsageError, match=r"budget\.input_price and budget\.output_price"):
        alone((run(new), new), metric="cost_per_1000_requests")


def test_quantiles_are_those_of_numpy():
    new = timed(1.0)
    seconds = [s.latency_s for s in new]
    single = alone((run(new), new), metric="latency_p95_s")
    found = single.interval(0.95)
    assert found == stats.quantile_interval(seconds, 0.95)
    assert found.low < np.quantile(seconds, 0.95) < found.high
    with pytest.raises(ValueError, match="cannot be imagined"):
        alone((run(new), [*new[1:], sample("000", 1)]), metric="latency_p95_s").interval(0.95, "lost")


# -------------------------------------------------------------------------- alone


def test_a_run_alone_has_its_own_value_and_counts_its_unscored():
    rows = [sample(str(i), s) for i, s in enumerate([1, 1, 0, None, math.nan, 1])]
    single = alone((run(rows), rows))
    assert (single.n, single.unscored, single.bounded, single.higher_is_better) == (4, 2, True, True)
    assert single.interval(0.9) == stats.mean_interval([1, 1, 0, 1], confidence=0.9)
    assert single.interval(0.9, "lost") == stats.mean_interval([1, 1, 0, 0, 0, 1], confidence=0.9)
    assert single.interval(0.9, "won") == stats.mean_interval([1, 1, 0, 1, 1, 1], confidence=0.9)


# ----------------------------------------------------------------- corpus metrics

LABELS = ["red", "green", "blue"]
GOLD = [LABELS[i % 3] for i in range(90)]


def answered(answers: list[str], targets: list[str] = GOLD, **more: object) -> list[SampleRecord]:
    pairs = zip(answers, targets, strict=True)
    return [sample(f"{i:03d}", 1, answer=a, target=t, **more) for i, (a, t) in enumerate(pairs)]


def test_macro_f1_is_compared_on_any_run():
    new = answered([t if i % 10 else "green" for i, t in enumerate(GOLD)])
    old = answered([t if i % 3 else "none" for i, t in enumerate(GOLD)])
    record = joined(new, old, metric="macro_f1").record()
    over = CORPUS_METRICS["macro_f1"].over(GOLD)
    by_hand = [sum(over.row(s.answer, s.target) for s in side) for side in (new, old)]
    assert [record.candidate_mean, record.reference_mean] == [float(over.value(sums)) for sums in by_hand]
    assert record.difference.value == pytest.approx(record.candidate_mean - record.reference_mean)
    assert record.difference.low < record.difference.value < record.difference.high
    assert record.won + record.lost + record.tied == 90


def test_an_answer_that_failed_is_no_row():
    new, old = answered(GOLD), answered(GOLD)
    new[0] = new[0].model_copy(update={"answer": None, "error": "timeout"})
    pairs = joined(new, old, metric="macro_f1")
    assert (pairs.n, pairs.unscored) == (89, 1)
    assert alone((run(new), new), metric="macro_f1").interval(0.95).value == 1


def test_a_corpus_metric_of_several_seeds_is_that_of_all_their_answers():
    sides = [answered([t if i % k else "green" for i, t in enumerate(GOLD)]) for k in (2, 5)]
    old = answered(GOLD)
    record = join([(run(s, f"s{k}"), s) for k, s in enumerate(sides)], (run(old), old), metric="macro_f1").record()
    over = CORPUS_METRICS["macro_f1"].over(GOLD)
    pooled = sum(over.row(s.answer, s.target) for side in sides for s in side)
    assert record.candidate_mean == pytest.approx(float(over.value(pooled)))


def test_repeats_of_a_corpus_metric_are_averaged_as_rows():
    rows = [s for r in (0, 1) for s in answered([t if i % (r + 2) else "red" for i, t in enumerate(GOLD)], repeat=r)]
    over = CORPUS_METRICS["macro_f1"].over(GOLD)
    pooled = sum(over.row(s.answer, s.target) for s in rows)
    single = alone((run(rows), rows), metric="macro_f1")
    assert (single.n, single.ground.repeats) == (90, 2)
    assert single.interval(0.95).value == pytest.approx(float(over.value(pooled)))


def test_corpus_bleu_is_compared_on_any_run():
    pytest.importorskip("sacrebleu")
    targets = [
        f"the {c} {a} sat on the mat number {i}" for i, (c, a) in enumerate([("big", "cat"), ("old", "dog")] * 10)
    ]
    new = answered([t.replace("the mat", "a mat") if i % 4 == 0 else t for i, t in enumerate(targets)], targets)
    old = answered([t.replace("sat on", "is at") for t in targets], targets)
    record = joined(new, old, metric="corpus_bleu").record()
    assert 0 < record.reference_mean < record.candidate_mean < 100
    assert record.difference.low > 0


def test_byte_perplexity_has_a_paired_interval():
    length = RNG.integers(2, 20, 100)
    rows = np.column_stack([-0.7 * length * RNG.lognormal(0, 0.2, 100), length])
    better = rows * [0.5, 1]
    found = stats.paired_statistic_interval(better, rows, byte_perplexity, higher_is_better=False)
    assert 0 < found.low < found.value < found.high
