"""Evaluation: durable samples, unscored is not zero, prompts put around items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scripted import Scripted, text

from harness.chat import chat
from harness.engines.base import Answer, Request
from harness.errors import EngineError
from harness.evaluate import evaluate
from harness.progress import Silent
from harness.records import Candidate, Decoding, Item, Message, ModelRef, Prompt, RunRecord
from harness.store import Store
from harness.suites import Suite, Task

USER = Message(role="user", content="2 + 2?")
MODEL = ModelRef(name="m", digest="d")


def suite(count: int = 20) -> Suite:
    items = tuple(
        Item(id=str(i), messages=(Message(role="user", content=str(i)),), target=str(i % 2)) for i in range(count)
    )
    return Suite("task", "task", "test", (Task("task", "generate", items, ("exact_match",), Decoding()),))


def candidate(prompt: Prompt | None = None) -> Candidate:
    return Candidate(name="base", model=MODEL, prompt=prompt or Prompt(name="raw", instruction=""), decoding=Decoding())


def parity(request: Request) -> Answer:
    return text(str(int(request.messages[-1].content) % 2))


def run(tmp_path: Path, engine: Scripted) -> RunRecord:
    return evaluate(candidate(), suite(), engine, Store(tmp_path).create("x--1", "name: x\n"), Silent())


def test_instruction_and_demonstrations_stand_before_the_question() -> None:
    shown = (Message(role="user", content="1 + 1?"), Message(role="assistant", content="2"))
    prompt = Prompt(name="p", instruction="Add.", demonstrations=(shown,))
    turns = chat(prompt, Item(id="1", messages=(USER,), target="4"))
    assert [turn.content for turn in turns] == ["Add.", "1 + 1?", "2", "2 + 2?"]


def test_a_rows_own_system_message_is_joined_to_the_instruction() -> None:
    own = Item(id="1", messages=(Message(role="system", content="Today is Monday."), USER), target="4")
    turns = chat(Prompt(name="p", instruction="Add."), own)
    assert [turn.content for turn in turns] == ["Add.\nToday is Monday.", "2 + 2?"]


def test_a_run_has_its_score_with_interval_n_and_method(tmp_path: Path) -> None:
    record = run(tmp_path, Scripted(parity))
    score = record.metrics[0].estimate
    assert (score.value, score.n, score.method) == (1.0, 20, "wilson")
    assert score.low is not None
    assert score.low < 1


def test_a_failed_call_is_unscored_not_wrong(tmp_path: Path) -> None:
    def reply(request: Request) -> Answer:
        return Answer(error="timeout") if request.messages[-1].content == "3" else parity(request)

    folder = Store(tmp_path).create("x--1", "name: x\n")
    record = evaluate(candidate(), suite(100), Scripted(reply), folder, Silent())
    assert (record.metrics[0].estimate.value, record.metrics[0].estimate.n, record.unscored) == (1.0, 99, 1)


def test_more_failed_calls_than_allowed_stop_the_run_and_only_they_are_asked_again(tmp_path: Path) -> None:
    def reply(request: Request) -> Answer:
        return Answer(error="timeout") if int(request.messages[-1].content) < 4 else parity(request)

    with pytest.raises(EngineError, match=r"4 of 20 calls failed, the last with: timeout.*run again"):
        run(tmp_path, Scripted(reply))
    again = Scripted(parity)
    assert run(tmp_path, again).unscored == 0
    assert again.calls == 4


def test_an_answer_to_another_item_under_the_same_id_does_not_count(tmp_path: Path) -> None:
    first = Scripted(parity, dies_after=7)
    with pytest.raises(EngineError):
        run(tmp_path, first)
    (task,) = suite().tasks
    turned = [item.model_copy(update={"id": str(19 - int(item.id))}) for item in task.items]
    folder = Store(tmp_path).create("x--1", "name: x\n")
    changed = Suite("task", "task", "test", (replace(task, items=tuple(turned)),))
    record = evaluate(candidate(), changed, Scripted(parity), folder, Silent())
    assert record.n == len(folder.samples(record.id)) == 20
    assert {s.question for s in folder.samples(record.id)} == {str(i) for i in range(20)}


def test_an_evaluation_that_died_goes_on_without_asking_twice(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", Scripted(parity))
    first = Scripted(parity, dies_after=7)
    with pytest.raises(EngineError):
        run(tmp_path / "b", first)
    second = Scripted(parity)
    assert run(tmp_path / "b", second).samples_digest == whole.samples_digest
    assert (first.calls, second.calls) == (7, 13)


def test_a_run_in_which_every_call_failed_is_a_fault_and_leaves_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"20 of 20 calls failed.*refused"):
        run(tmp_path, Scripted(lambda request: Answer(error="refused")))
    assert Store(tmp_path).find("x--1").runs() == []


def test_a_choice_item_is_scored_by_the_likeliest_choice(tmp_path: Path) -> None:
    item = Item(id="1", text="The sky is", choices=(" blue", " green"), target=" blue")
    task = Task("colours", "choice", (item,), ("acc",), Decoding())
    engine = Scripted(lambda request: Answer(logprobs=(-1.0, -2.0)))
    folder = Store(tmp_path).create("x--1", "name: x\n")
    record = evaluate(candidate(), Suite("s", "regression", "test", (task,)), engine, folder, Silent())
    assert record.metrics[0].estimate.value == 1.0
    assert folder.samples(record.id)[0].answer == " blue"


def test_an_item_that_the_engine_left_without_any_answer_is_a_fault_too(tmp_path: Path) -> None:
    class Forgetful(Scripted):
        def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
            yield from list(super().answer(requests))[1:]

    folder = Store(tmp_path).create("x--1", "name: x\n")
    with pytest.raises(EngineError, match="1 of 100 calls failed"):
        evaluate(candidate(), suite(100), Forgetful(parity), folder, Silent())


def test_a_metric_of_all_answers_together_is_summarised_with_its_interval(tmp_path: Path) -> None:
    whole = suite(20)
    both = replace(whole, tasks=(replace(whole.tasks[0], corpus_metrics=("macro_f1",)),))
    record = evaluate(candidate(), both, Scripted(parity), Store(tmp_path).create("x--1", "name: x\n"), Silent())
    found = record.metric("task", "macro_f1")
    assert found is not None
    assert (found.estimate.value, found.estimate.n) == (1.0, 20)
    assert found.estimate.low is not None
    assert found.estimate.low < 1
    assert record.metrics[0].metric == "exact_match"


def test_items_of_one_cluster_are_one_piece_of_evidence_across_tasks(tmp_path: Path) -> None:
    items = [item.model_copy(update={"cluster": f"c{int(item.id) // 2}"}) for item in suite(40).tasks[0].items]
    halves = (Task(name, "generate", tuple(items[at::2]), ("exact_match",), Decoding()) for at, name in enumerate("ab"))
    both = Suite("s", "regression", "test", tuple(halves))
    record = evaluate(candidate(), both, Scripted(parity), Store(tmp_path).create("x--1", "name: x\n"), Silent())
    overall = record.metric("*", "primary")
    assert overall is not None
    assert "cluster" in overall.estimate.method


def test_repeats_are_asked_with_seeds_of_their_own_and_averaged(tmp_path: Path) -> None:
    seen: list[int] = []

    def reply(request: Request) -> Answer:
        seen.append(request.decoding.seed)
        return text(str((int(request.messages[-1].content) + request.decoding.seed) % 2))

    thrice = replace(suite(4), tasks=(replace(suite(4).tasks[0], repeats=3),))
    store = Store(tmp_path).create("x--1", "name: x\n")
    record = evaluate(candidate(), thrice, Scripted(reply), store, Silent())
    assert sorted(seen) == [0] * 4 + [1] * 4 + [2] * 4
    assert {s.repeat for s in store.samples(record.id)} == {0, 1, 2}
    assert (record.n, record.tokens_in) == (4, 4)
    assert record.metrics[0].estimate.value == pytest.approx(2 / 3)


def test_repeats_of_a_suites_own_texts_have_seeds_of_their_own_too(tmp_path: Path) -> None:
    seen: list[int] = []

    def reply(request: Request) -> Answer:
        seen.append(request.decoding.seed)
        return text("4")

    chat = (Item(id="1", messages=(USER,), target="4"),)
    plain = (Item(id="1", text="2 + 2 =", target="4"),)
    drawn = Decoding(temperature=1.0, seed=7)
    tasks = [
        Task(name, "generate", items, ("exact_match",), drawn, repeats=2, as_it_stands=True)
        for name, items in (("chat", chat), ("plain", plain))
    ]
    store = Store(tmp_path).create("x--1", "name: x\n")
    evaluate(candidate(), Suite("s", "task", "test", tuple(tasks)), Scripted(reply), store, Silent())
    assert sorted(seen) == [7, 7, 8, 8]


def test_an_item_with_one_failed_repeat_is_unscored(tmp_path: Path) -> None:
    def reply(request: Request) -> Answer:
        failed = request.messages[-1].content == "7" and request.decoding.seed == 1
        return Answer(error="timeout") if failed else parity(request)

    twice = replace(suite(60), tasks=(replace(suite(60).tasks[0], repeats=2),))
    record = evaluate(candidate(), twice, Scripted(reply), Store(tmp_path).create("x--1", "name: x\n"), Silent())
    assert (record.n, record.unscored, record.metrics[0].estimate.n) == (60, 1, 59)
