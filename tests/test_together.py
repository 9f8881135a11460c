"""Candidates evaluated together: in flight in one company, and recorded as if each had been alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from scripted import Scripted, text

from harness import metrics
from harness.engines.base import Answer, Request
from harness.errors import EngineError
from harness.evaluate import Job, aids, evaluate_all
from harness.evaluate.threads import in_threads
from harness.judgement.answers import Answers, Wanted
from harness.metrics import tools
from harness.progress import Silent
from harness.records import AdapterRef, Candidate, Decoding, Item, Message, ModelRef, Prompt, RunRecord, SampleRecord
from harness.store import ExperimentStore, Store
from harness.suites import Suite, Task

PLACE_AND_TIME = {"id", "seconds", "created", "latency_p50_s", "latency_p95_s"}


class InFlight(Scripted):
    """Has several models in flight; remembers who was asked in each call."""

    concurrent = True

    def __init__(self, reply: Any, dies_after: int | None = None) -> None:
        super().__init__(reply, dies_after)
        self.asked: list[list[str | None]] = []

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        self.asked.append([request.adapter for request in requests])
        return super().answer(requests)


class Stops:
    """A watch that has enough after so many samples."""

    method, seed = "betting", 0

    def __init__(self, enough: int) -> None:
        self.enough = enough

    def is_decided(self, samples: Sequence[SampleRecord]) -> bool:
        return len(samples) >= self.enough


def suite(count: int = 40, name: str = "task") -> Suite:
    turns = [(Message(role="user", content=f"{name} {n}"),) for n in range(count)]
    items = tuple(Item(id=str(n), messages=turn, target=str(n % 3)) for n, turn in enumerate(turns))
    return Suite(name, "task", "test", (Task(name, "generate", items, ("exact_match",), Decoding()),))


def candidate(name: str, instruction: str = "Add.", adapter: str | None = None) -> Candidate:
    ref = None if adapter is None else AdapterRef(digest=adapter, method="lora", seed=0)
    prompt = Prompt(name=name, instruction=instruction)
    return Candidate(name=name, model=ModelRef(name="m", digest="d"), adapter=ref, prompt=prompt, decoding=Decoding())


def reply(request: Request) -> Answer:
    number = int(request.messages[-1].content.split()[-1]) + len(request.adapter or "")
    return text(str(number % 3 if number % 7 else 9))


def jobs() -> list[Job]:
    return [
        Job(candidate("base"), suite()),
        Job(candidate("one", adapter="a"), suite(25, "other"), "a"),
        Job(candidate("two", adapter="bb"), suite(), "bb", Stops(20)),
    ]


def folder(path: Path) -> ExperimentStore:
    return Store(path).create("x--1", "name: x\n")


def evaluated(engine: Scripted, store: ExperimentStore, wanted: list[Job] | None = None) -> list[RunRecord]:
    found = dict(evaluate_all(wanted or jobs(), engine, store, Silent()))
    return [found[at] for at in sorted(found)]


def same(run: RunRecord) -> dict[str, Any]:
    return run.model_dump(exclude=PLACE_AND_TIME)


def test_runs_made_together_are_those_made_one_after_the_other(tmp_path: Path) -> None:
    together, alone = folder(tmp_path / "together"), folder(tmp_path / "alone")
    made, one_by_one = evaluated(InFlight(reply), together), evaluated(Scripted(reply), alone)
    assert [same(run) for run in made] == [same(run) for run in one_by_one]
    for run in made:
        assert together.samples(run.id) == alone.samples(run.id)
    assert made[2].stopped is not None
    assert (made[2].stopped.asked, made[0].n, made[1].n) == (32, 40, 25)


def test_the_requests_of_all_are_mixed_in_one_call(tmp_path: Path) -> None:
    engine = InFlight(reply)
    evaluated(engine, folder(tmp_path))
    assert engine.asked[0][:6] == [None, "a", "bb"] * 2
    assert [set(call) for call in engine.asked[1:]] == [{"bb"}]  # the watched run's second batch


def test_an_engine_that_has_one_model_in_flight_is_asked_for_one_run_after_the_other(tmp_path: Path) -> None:
    class OneByOne(InFlight):
        concurrent = False

    engine = OneByOne(reply)
    evaluated(engine, folder(tmp_path))
    assert [set(call) for call in engine.asked] == [{None}, {"a"}, {"bb"}, {"bb"}]


def test_a_run_with_too_many_failed_calls_stops_none_of_the_others(tmp_path: Path) -> None:
    store, broken = folder(tmp_path), [True]

    def partly(request: Request) -> Answer:
        return Answer(error="timeout") if broken[0] and request.adapter == "a" else reply(request)

    with pytest.raises(EngineError, match=r"one--other--test: 25 of 25 calls failed, the last with: timeout"):
        evaluated(InFlight(partly), store)
    assert store.run_ids() == ["base--task--test", "two--task--test"]
    broken[0] = False
    again = InFlight(partly)
    evaluated(again, store, [jobs()[1]])
    assert again.calls == 25


def test_what_was_answered_before_the_engine_died_is_kept_for_all(tmp_path: Path) -> None:
    store = folder(tmp_path / "killed")
    with pytest.raises(EngineError, match="scripted death"):
        evaluated(InFlight(reply, dies_after=50), store)
    assert store.run_ids() == []
    again = InFlight(reply)
    made, whole = evaluated(again, store), InFlight(reply)
    assert [same(run) for run in made] == [same(run) for run in evaluated(whole, folder(tmp_path / "whole"))]
    assert again.calls == whole.calls - 50


def answers(engine: Scripted, store: ExperimentStore, timed: bool = False) -> Answers:
    serving = cast(Any, SimpleNamespace(engine=engine, name_of=lambda adapter: adapter.digest))
    return Answers(store, serving, Silent(), timed=timed)


WANTED = (
    Wanted(candidate("base"), suite()),
    Wanted(candidate("raw again"), suite()),
    Wanted(candidate("tuned", adapter="a"), suite()),
    Wanted(candidate("base"), suite()),
)


def test_who_would_be_asked_the_very_same_in_one_go_is_asked_once(tmp_path: Path) -> None:
    engine = InFlight(reply)
    runs = answers(engine, folder(tmp_path)).evaluate_all(WANTED)
    assert [run.candidate.name for run in runs] == ["base", "raw again", "tuned", "base"]
    assert runs[0] == runs[3]
    assert runs[0].samples_digest == runs[1].samples_digest != runs[2].samples_digest
    assert engine.calls == 80
    assert engine.asked == [[None, "a"] * 40]


def test_where_latencies_decide_each_run_is_made_alone(tmp_path: Path) -> None:
    engine = InFlight(reply)
    answers(engine, folder(tmp_path), timed=True).evaluate_all(WANTED)
    assert engine.asked == [[None] * 40, ["a"] * 40]


def judged_suite(count: int) -> Suite:
    (task,) = suite(count).tasks
    return Suite("task", "task", "test", (Task("task", "generate", task.items, ("judge", "exact_match"), Decoding()),))


def test_verdicts_on_several_answers_are_asked_for_at_the_same_time(tmp_path: Path) -> None:
    waiting, store = threading.Barrier(4), folder(tmp_path)

    def judge(_: str, material: str) -> str:
        waiting.wait(60)  # broken unless four are asked together
        return "Grade: 5"

    job = Job(candidate("base"), judged_suite(8))
    with metrics.using(tools.Tools(judge=tools.Judge("scripted", judge))):
        [run] = evaluated(Scripted(reply), store, [job])
    samples = store.samples(run.id)
    assert [sample.scores["judge"] for sample in samples] == [1.0] * 8
    assert [sample.scores["exact_match"] for sample in samples] == [0.0, 1, 1, 1, 1, 1, 1, 0]
    assert [*samples[0].scores] == ["judge", "exact_match"]


def test_a_judge_that_is_gone_ends_the_evaluation_and_what_it_said_before_is_kept(tmp_path: Path) -> None:
    store, gone = folder(tmp_path), [True]

    def judge(_: str, material: str) -> str:
        if gone[0] and "task 30" in material:
            raise EngineError("the judge does not answer")
        return "Grade: 3"

    job = Job(candidate("base"), judged_suite(40))
    with metrics.using(tools.Tools(judge=tools.Judge("scripted", judge))):
        with pytest.raises(EngineError, match="the judge does not answer"):
            evaluated(Scripted(reply), store, [job])
        kept = len(store.samples("base--task--test"))
        gone[0], again = False, Scripted(reply)
        [run] = evaluated(again, store, [job])
    assert 0 < kept < 40
    assert (again.calls, run.n, run.unscored) == (40 - kept, 40, 0)


def test_a_judge_is_asked_once_what_several_answers_have_in_common() -> None:
    calls: list[str] = []
    started = threading.Barrier(2)

    def judge(instruction: str, question: str) -> str:
        calls.append(question)
        if len(calls) == 1:
            raise metrics.Unscored("down", fault=True)
        return "Grade: 4"

    def ask(question: str) -> str:
        started.wait(60)
        return remembered("grade", question)

    remembered = aids._remembering(judge)
    with pytest.raises(metrics.Unscored, match="down"):
        remembered("grade", "same")
    assert list(in_threads(ask, ["same", "same"], 2)) == ["Grade: 4"] * 2
    assert calls == ["same", "same"]  # the failed one, and one for both


def test_threads_hand_on_the_fault_and_whoever_stops_early_waits_for_nobody() -> None:
    held = threading.Event()

    def work(job: int) -> int:
        if job == 3:
            raise ValueError("three")
        return job if job < 3 else held.wait(60)

    with pytest.raises(ValueError, match="three"):
        list(in_threads(work, range(4), 1))
    results = in_threads(work, [0, 5, 6], 2)
    assert next(results) == 0
    results.close()  # 5 still waits
    assert not held.is_set()
    held.set()
