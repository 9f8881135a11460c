"""Early stopping: asked in a random order, ended when the gates are decided, the same after a kill."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from scripted import Scripted, text

from harness import gates
from harness.asking import asking_key
from harness.compare import Scored, join
from harness.engines.base import Answer, Request
from harness.errors import EngineError, NotComparableError
from harness.evaluate import SMALLEST_BATCH, evaluate
from harness.gates import Entrant, GateSpec, PolicySpec
from harness.gates.watching import GateWatch, can_be_watched, family_size
from harness.progress import Silent
from harness.records import Candidate, Decoding, Item, Message, ModelRef, Prompt, RunRecord
from harness.store import ExperimentStore, Store
from harness.suites import Suite, Task

POLICY = PolicySpec()
GATE = GateSpec(suite="task", min_delta=0.0)


def suite(count: int, clusters: int | None = None) -> Suite:
    items = tuple(
        Item(
            id=str(i),
            messages=(Message(role="user", content=str(i)),),
            target="right",
            cluster=None if clusters is None else f"c{i % clusters}",
        )
        for i in range(count)
    )
    return Suite("task", "task", "test", (Task("task", "generate", items, ("exact_match",), Decoding()),))


def engine(share: float, who: str, dies_after: int | None = None) -> Scripted:
    """Right on about this share of the questions, always on the same ones."""

    def reply(request: Request) -> Answer:
        luck = random.Random(f"{who}/{request.messages[-1].content}").random()
        return text("right" if luck < share else "wrong")

    return Scripted(reply, dies_after)


def candidate(name: str) -> Candidate:
    prompt = Prompt(name=name, instruction=name)
    return Candidate(name=name, model=ModelRef(name="m", digest="d"), prompt=prompt, decoding=Decoding())


@pytest.fixture
def store(tmp_path: Path) -> ExperimentStore:
    return Store(tmp_path).create("e--1", "name: e\n")


def scored(store: ExperimentStore, run: RunRecord) -> Scored:
    return run, store.samples(run.id)


def reference(store: ExperimentStore, of: Suite, share: float = 0.5) -> Scored:
    return scored(store, evaluate(candidate("base"), of, engine(share, "base"), store, Silent()))


def watch(reference: Scored, *specs: GateSpec, seed: int = 0) -> GateWatch:
    return GateWatch(POLICY, specs, [reference] * len(specs), 0.025, len(specs), seed)


def test_a_clear_gain_needs_a_part_of_the_items(store: ExperimentStore) -> None:
    of = suite(300)
    base = reference(store, of)
    run = evaluate(candidate("tuned"), of, engine(0.9, "tuned"), store, Silent(), watch=watch(base, GATE))
    assert run.stopped is not None
    assert (run.n, run.stopped.of, run.stopped.method) == (run.stopped.asked, 300, "betting")
    assert SMALLEST_BATCH <= run.n <= 200
    evidence = gates.gather(GATE, [scored(store, run)], base, "artifact", None)
    ((record,),), _ = gates.judge(POLICY, [GATE], [Entrant("tuned", 0.025, [evidence])])
    assert record.outcome == "pass"
    assert record.comparison is not None
    assert record.comparison.difference.method == "betting"


def test_items_are_asked_in_the_order_of_the_seed(store: ExperimentStore) -> None:
    of = suite(300)
    base = reference(store, of)
    run = evaluate(candidate("tuned"), of, engine(0.9, "t"), store, Silent(), watch=watch(base, GATE, seed=3))
    order = sorted(range(300), key=lambda i: asking_key(3, "task", str(i), None))
    assert {s.id for s in store.samples(run.id)} == {str(i) for i in order[: run.n]}


def test_an_equal_candidate_is_asked_everything_and_judged_by_the_same_sequence(store: ExperimentStore) -> None:
    of = suite(200)
    base = reference(store, of)
    run = evaluate(candidate("tuned"), of, engine(0.5, "tuned"), store, Silent(), watch=watch(base, GATE))
    assert run.stopped is not None
    assert run.stopped.asked == run.n == 200
    assert join([scored(store, run)], base).interval(0.95).method == "betting"


def test_a_blocking_gate_that_failed_ends_it_though_others_are_open(store: ExperimentStore) -> None:
    of = suite(300)
    base = reference(store, of, 0.9)
    open_gate = GateSpec(suite="task", min_delta=-0.6)
    run = evaluate(candidate("tuned"), of, engine(0.3, "tuned"), store, Silent(), watch=watch(base, open_gate, GATE))
    assert run.n < 200


def test_a_killed_evaluation_ends_with_the_same_items(store: ExperimentStore, tmp_path: Path) -> None:
    of = suite(300)
    base = reference(store, of)
    with pytest.raises(EngineError, match="scripted death"):
        evaluate(candidate("tuned"), of, engine(0.9, "tuned", 20), store, Silent(), watch=watch(base, GATE))
    again = engine(0.9, "tuned")
    resumed = evaluate(candidate("tuned"), of, again, store, Silent(), watch=watch(base, GATE))
    other = Store(tmp_path).create("f--1", "name: f\n")
    whole = evaluate(candidate("tuned"), of, engine(0.9, "tuned"), other, Silent(), watch=watch(base, GATE))
    assert resumed.samples_digest == whole.samples_digest
    assert again.calls == resumed.n - 20


def test_clusters_are_asked_whole(store: ExperimentStore) -> None:
    of = suite(600, clusters=120)
    base = reference(store, of)
    run = evaluate(candidate("tuned"), of, engine(0.95, "tuned"), store, Silent(), watch=watch(base, GATE))
    clusters = [sample.cluster for sample in store.samples(run.id)]
    assert run.n < 600
    assert all(clusters.count(cluster) == 5 for cluster in set(clusters))


def test_samples_that_are_not_the_first_asked_are_refused(store: ExperimentStore) -> None:
    of = suite(300)
    base = reference(store, of)
    run, samples = scored(
        store, evaluate(candidate("tuned"), of, engine(0.9, "t"), store, Silent(), watch=watch(base, GATE))
    )
    left_out = next(sample for sample in base[1] if sample.id not in {s.id for s in samples})
    swapped = [*samples[1:], left_out]
    with pytest.raises(NotComparableError, match="not the first"):
        join([(run, swapped)], base)


@pytest.mark.parametrize(
    ("policy", "gate", "fit"),
    [
        (POLICY, GATE, True),
        (POLICY, GateSpec(min_delta=-0.1, relative=True), True),
        (POLICY, GateSpec(at_least=0.5), False),
        (POLICY, GateSpec(min_delta=0.1, metric="latency_p95_s"), False),
        (POLICY, GateSpec(min_delta=0.1, metric="macro_f1"), False),
        (PolicySpec(claim="recipe"), GATE, False),
    ],
)
def test_only_margins_on_means_of_scores_are_watched(policy: PolicySpec, gate: GateSpec, fit: bool) -> None:
    assert can_be_watched(policy, [gate]) is fit
    assert not can_be_watched(policy, [GATE, GateSpec(at_most=0.5)])


def test_the_family_counts_slices_and_finalists_but_nothing_that_is_certain() -> None:
    specs = [GATE, GateSpec(min_delta=0.0, worst_slice="language"), GateSpec(must_not_break="a.jsonl")]
    specs.append(GateSpec(min_delta=0.0, tier="advisory"))
    assert family_size(POLICY, specs, lambda _: 4, 2) == 10
    assert family_size(PolicySpec(family="all"), specs, lambda _: 4, 1) == 6
