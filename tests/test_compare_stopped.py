"""Runs that were stopped early: joined on what they asked, with an interval that stopping leaves honest."""

import numpy as np
import pytest
from scored_runs import run, sample, scores

from harness.asking import asking_key
from harness.compare import alone, compare, join
from harness.errors import NotComparableError
from harness.records import EarlyStop, RunRecord, SampleRecord
from harness.stats.sequences import PairedSequence

SEED = 7


def in_order(rows: list[SampleRecord]) -> list[SampleRecord]:
    return sorted(rows, key=lambda s: asking_key(SEED, s.task, s.id, s.cluster))


def stopped(rows: list[SampleRecord], asked: int, **more: object) -> tuple[RunRecord, list[SampleRecord]]:
    first = in_order(rows)[:asked]
    stop = EarlyStop(method="betting", asked=asked, of=len(rows), seed=SEED)
    return run(first, n=asked, stopped=stop, **more), first


def whole(rows: list[SampleRecord]) -> tuple[RunRecord, list[SampleRecord]]:
    return run(rows, "base"), rows


GAIN = np.random.default_rng(3).random(200) < 0.4
NEW, OLD = scores([1.0] * 200), scores([float(not gain) for gain in GAIN])


def test_a_stopped_run_is_joined_on_what_it_asked():
    record = compare(*stopped(NEW, 60), *whole(OLD))
    by_id = {s.id: s.scores["acc"] for s in OLD}
    first = [s.id for s in in_order(NEW)[:60]]
    assert (record.difference.method, record.difference.n, record.unscored) == ("betting", 60, 0)
    assert record.difference.value == pytest.approx(1 - np.mean([by_id[id] for id in first]))


def test_its_interval_is_the_sequence_in_the_order_of_asking():
    by_id = {s.id: s.scores["acc"] for s in OLD}
    sequence = PairedSequence(0.0, 0.025, 0.01)
    sequence.add([1 - by_id[s.id] for s in in_order(NEW)[:60]], np.ones(60))
    pairs = join([stopped(NEW, 60)], whole(OLD))
    assert (pairs.interval(0.95).low, pairs.interval(0.98).high) == sequence.interval(0.025, 0.01)
    assert pairs.interval(0.95).low > 0


def test_stopping_costs_width():
    rows, other = in_order(NEW)[:60], in_order(OLD)[:60]
    fixed = compare(run(rows), rows, run(other, "base"), other).difference
    anytime = compare(*stopped(NEW, 60), *whole(OLD)).difference
    assert anytime.low < fixed.low
    assert fixed.high < anytime.high


def test_clusters_come_as_wholes_and_the_largest_counts_even_if_not_asked():
    new = [sample(f"{i:03d}", 1.0, cluster=f"p{i // 4}") for i in range(200)]
    old = [s.model_copy(update={"scores": {"acc": float(not gain)}}) for s, gain in zip(new, GAIN, strict=True)]
    pairs = join([stopped(new, 80)], whole(old))
    clusters: dict[str, list[float]] = {}
    for s in in_order(old)[:80]:
        clusters.setdefault(s.cluster, []).append(1 - s.scores["acc"])
    sequence = PairedSequence(0.0, 0.025, 0.025, largest_cluster=4)
    sequence.add([sum(c) for c in clusters.values()], [len(c) for c in clusters.values()])
    assert (pairs.interval(0.95).low, pairs.interval(0.95).high) == pytest.approx(sequence.interval(0.025, 0.025))


def test_unscored_items_of_a_stopped_run_can_be_imagined_too():
    rows = [s.model_copy(update={"scores": {"acc": None}}) if i % 20 == 0 else s for i, s in enumerate(NEW)]
    pairs = join([stopped(rows, 60)], whole(OLD))
    assert pairs.unscored > 0
    low, left, high = (pairs.interval(0.95, how).value for how in ("lost", "left out", "won"))
    assert low < left < high
    assert pairs.interval(0.95, "lost").n == 60


def test_a_slice_of_a_stopped_run_keeps_the_order():
    cut = [s.model_copy(update={"slices": {"half": str(int(s.id) % 2)}}) for s in NEW]
    old = [s.model_copy(update={"slices": {"half": str(int(s.id) % 2)}}) for s in OLD]
    pairs = join([stopped(cut, 60)], whole(old), slice="half=1")
    assert pairs.n == sum(int(s.id) % 2 for s in in_order(cut)[:60])
    assert pairs.interval(0.95).method == "betting"


def test_a_stopped_run_alone_has_an_anytime_interval():
    single = alone(stopped(OLD, 60))
    sequence = PairedSequence(0.5, 0.025, 0.025, lower=0.0, upper=1.0)
    sequence.add([s.scores["acc"] for s in in_order(OLD)[:60]], np.ones(60))
    assert (single.interval(0.95).low, single.interval(0.95).high) == sequence.interval(0.025, 0.025)


@pytest.mark.parametrize("metric", ["latency_mean_s", "latency_p95_s", "macro_f1"])
def test_other_metrics_are_judged_on_whole_runs_alone(metric):
    new, old = ([s.model_copy(update={"latency_s": 1.0 + int(s.id) / 100}) for s in side] for side in (NEW, OLD))
    with pytest.raises(NotComparableError, match=f"stopped early after 60 of 200 items.*{metric} is none"):
        join([stopped(new, 60)], whole(old), metric=metric)
    assert join([stopped(new, 200)], whole(old), metric=metric).interval(0.95).method != "betting"


def test_scores_outside_the_scale_are_judged_on_whole_runs_alone():
    new, old = scores([3.0, 1.0] * 20), scores([1.0, 2.0] * 20)
    with pytest.raises(NotComparableError, match="primary is none"):
        join([stopped(new, 10)], whole(old))


def test_a_run_that_skipped_items_of_its_order_is_refused():
    record, rows = stopped(NEW, 60)
    swapped = [*rows[:-1], in_order(NEW)[-1]]
    with pytest.raises(NotComparableError, match="not the first 60 items in the order of seed 7"):
        compare(record, swapped, *whole(OLD))


def test_an_incomplete_run_that_was_not_stopped_is_refused():
    rows = in_order(NEW)[:60]
    with pytest.raises(NotComparableError, match="140 samples are missing"):
        compare(run(rows), rows, *whole(OLD))


def test_the_reference_and_seeds_must_be_whole():
    reference, rows = stopped(OLD, 60, name="base")
    with pytest.raises(NotComparableError, match="The reference must have every item"):
        compare(run(NEW), NEW, reference, rows)
    with pytest.raises(NotComparableError, match="Several seeds are compared whole"):
        join([stopped(NEW, 60), (run(NEW, "s1"), NEW)], whole(OLD))


def test_alone_over_clusters_a_stopped_run_is_refused():
    rows = [sample(f"{i:03d}", 1.0, cluster=f"p{i // 4}") for i in range(40)]
    with pytest.raises(NotComparableError, match="stopped early over items in clusters"):
        alone(stopped(rows, 20))
