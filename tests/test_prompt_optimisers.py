"""gepa and DSPy behind the seam of prompt search: they find what is there, keep to the budget, resume."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from scripted import Scripted, text

from harness.data import Row, Split
from harness.engines.base import Answer, Request
from harness.errors import EngineError, UsageError
from harness.evaluate import TaskSpec, task_suite
from harness.progress import Silent
from harness.prompts import dspy_search, gepa_search
from harness.prompts.meter import JOURNAL, Meter, Sheet
from harness.prompts.searching import Field, Found, Searcher
from harness.prompts.spec import Budget, PromptSpec
from harness.records import Item, Message, SampleRecord, SplitName
from harness.store import ExperimentStore

SEARCHERS: dict[str, Searcher] = {"gepa": gepa_search.search, "dspy": dspy_search.search}
Reply = Callable[[Request], Answer]
both = pytest.mark.parametrize("name", SEARCHERS)
MAGIC = "Say the answer in capitals."
TASK = TaskSpec(metric="exact_match")


def item(split: str, number: int) -> Item:
    question = f"{split} {number}"
    return Item(id=f"{split}{number}", messages=(Message(role="user", content=question),), target=question.upper())


def split(name: SplitName, size: int) -> Split:
    return Split(name, f"{name}.jsonl", tuple(Row(item(name, number), number + 1) for number in range(size)))


FIELD = Field("Answer.", TASK, split("train", 40), split("dev", 10), split("dev", 10).items)


def model(request: Request) -> Answer:
    """Right where the instruction is the magic one or four demonstrations are shown; asked to rewrite, finds it."""
    question = request.messages[-1].content
    if "write a new instruction" in question:
        return text(f"```\n{MAGIC}\n```")
    shown = sum(turn.role == "assistant" for turn in request.messages)
    magic = request.messages[0].content == MAGIC
    right = magic or shown >= 4 or question.endswith("3")
    return text(question.upper() if right else question)


@contextmanager
def meter(folder: Path, engine: Scripted, budget: int = 120, unit: str = "calls") -> Iterator[Meter]:
    store = ExperimentStore(folder)
    (task,) = task_suite(FIELD.dev, TASK).tasks
    with store.journal(JOURNAL) as journal, Silent().bar("search", budget) as bar:
        yield Meter(budget, unit, task, engine, None, store, journal, bar)


def spec(name: str, budget: int = 120) -> PromptSpec:
    return PromptSpec(search="gepa" if name == "gepa" else "dspy", budget=Budget(calls=budget), shots=(0, 4))


def run(name: str, folder: Path, engine: Scripted, budget: int = 120) -> tuple[Found, dict[str, Sheet], int]:
    with meter(folder, engine, budget) as counted:
        found = SEARCHERS[name](spec(name, budget), FIELD, counted)
        return found, counted.sheets, counted.calls


def dev_mean(sheet: Sheet) -> float:
    scores = [sheet.samples[one.id].scores["exact_match"] for one in FIELD.order]
    return sum(score or 0.0 for score in scores) / len(scores)


@both
def test_the_better_prompt_is_found_and_is_a_plain_one(name: str, tmp_path: Path) -> None:
    found, sheets, _ = run(name, tmp_path, Scripted(model))
    prompt = found.winner.prompt
    assert dev_mean(sheets[found.winner.key]) == 1.0
    assert prompt.instruction == MAGIC if name == "gepa" else len(prompt.demonstrations) == 4
    assert set(prompt.demonstration_ids) <= {one.id for one in FIELD.train.items}
    assert found.ranked[0] == found.winner.key
    assert found.fates[found.winner.key] == "winner"


@both
def test_the_raw_prompt_is_an_arm_like_any_other(name: str, tmp_path: Path) -> None:
    found, sheets, _ = run(name, tmp_path, Scripted(lambda request: text(request.messages[-1].content.upper())))
    assert found.winner.prompt.name == "raw"
    assert found.winner.prompt.instruction == FIELD.instruction
    assert len(sheets[found.winner.key].samples) >= len(FIELD.order)


@both
@pytest.mark.parametrize("budget", [20, 33, 57, 120])
def test_the_budget_is_kept_whatever_it_is(name: str, budget: int, tmp_path: Path) -> None:
    engine = Scripted(model)
    found, sheets, calls = run(name, tmp_path, engine, budget)
    assert engine.calls == calls <= budget
    assert all(one.id in sheets[found.winner.key].samples for one in FIELD.order)


@both
def test_a_killed_search_goes_on_and_comes_to_the_same_end(name: str, tmp_path: Path) -> None:
    whole, sheets, calls = run(name, tmp_path / "whole", Scripted(model))
    for dies_after in (5, 25):
        with pytest.raises(EngineError, match="scripted death"):
            run(name, tmp_path / "killed", Scripted(model, dies_after=dies_after))
    survivor = Scripted(model)
    resumed, again, counted = run(name, tmp_path / "killed", survivor)
    assert resumed == whole
    assert {key: sheet.samples for key, sheet in again.items()} == {key: s.samples for key, s in sheets.items()}
    assert counted == calls
    lines = ExperimentStore(tmp_path / "killed").journal_lines(JOURNAL, SampleRecord)
    assert len(lines) == len({(line.task, line.id) for line in lines}) == calls
    assert survivor.calls == calls - 30


@both
def test_a_failed_call_is_left_out_of_the_mean_and_an_arm_of_failed_calls_cannot_win(name: str, tmp_path: Path) -> None:
    def fails(request: Request) -> Answer:
        better = request.messages[0].content == MAGIC or len(request.messages) > 2
        return Answer(error="too long") if better and "dev" in request.messages[-1].content else model(request)

    found, _, _ = run(name, tmp_path, Scripted(fails))
    assert found.winner.prompt.name == "raw"
    assert any("too long" in fate for fate in found.fates.values())


@both
def test_no_answer_at_all_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no server"):
        run(name, tmp_path, Scripted(lambda _: Answer(error="no server")))


@both
def test_too_small_a_budget_says_how_much_is_needed(name: str, tmp_path: Path) -> None:
    engine = Scripted(model)
    with pytest.raises(UsageError, match=r"prompt\.budget: 19 calls .* 20"):
        run(name, tmp_path, engine, budget=19)
    assert engine.calls == 0


@both
def test_a_missing_package_says_how_to_install_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"finetune-harness\[{name}\]"):
        run(name, tmp_path, Scripted(model))


@both
def test_nothing_is_printed_or_logged(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    run(name, tmp_path, Scripted(model))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@both
def test_the_seed_decides(name: str, tmp_path: Path) -> None:
    def winner(folder: str, seed: int) -> list[str]:
        with meter(tmp_path / folder, Scripted(model)) as counted:
            SEARCHERS[name](spec(name).model_copy(update={"seed": seed}), FIELD, counted)
            return [one for sheet in counted.sheets.values() for one in sheet.samples]

    assert winner("a", 1) == winner("b", 1) != winner("c", 2)


def test_gepa_passes_over_a_rewriting_that_fails_and_says_when_all_fail(tmp_path: Path) -> None:
    def rewriting(fails: int) -> Reply:
        left = [fails]

        def reply(request: Request) -> Answer:
            if "write a new instruction" in request.messages[-1].content and left[0]:
                left[0] -= 1
                return Answer(error="prompt too long")
            return model(request)

        return reply

    found, _, _ = run("gepa", tmp_path / "some", Scripted(rewriting(2)))
    assert found.winner.prompt.instruction == MAGIC
    with pytest.raises(EngineError, match="prompt too long"):
        run("gepa", tmp_path / "all", Scripted(rewriting(1000)))


@both
def test_a_budget_of_tokens_is_kept_and_needs_an_engine_that_counts(name: str, tmp_path: Path) -> None:
    def counted(tokens: int | None) -> Reply:
        return lambda request: replace(model(request), tokens_in=tokens, tokens_out=tokens)

    with meter(tmp_path / "counted", Scripted(counted(10)), 1600, "tokens") as some:
        found = SEARCHERS[name](spec(name), FIELD, some)
        assert some.tokens is not None
        assert some.tokens <= 1600
        assert all(one.id in some.sheets[found.winner.key].samples for one in FIELD.order)
    with (
        meter(tmp_path / "uncounted", Scripted(counted(None)), 1600, "tokens") as some,
        pytest.raises(EngineError, match="does not count"),
    ):
        SEARCHERS[name](spec(name), FIELD, some)


def test_gepa_carries_demonstrations_where_shots_does_not_allow_none(tmp_path: Path) -> None:
    with meter(tmp_path, Scripted(model)) as counted:
        gepa_search.search(spec("gepa").model_copy(update={"shots": (3,)}), FIELD, counted)
    shown = {len(sheet.arm.prompt.demonstrations) for sheet in counted.sheets.values() if sheet.arm.origin == "gepa"}
    assert shown == {3}
    assert any(sheet.arm.prompt.name == "raw" for sheet in counted.sheets.values())


def test_dspy_shows_the_teachers_right_answers_and_asks_no_wrong_one_twice(tmp_path: Path) -> None:
    asked: list[Request] = []

    def wordy(request: Request) -> Answer:
        asked.append(request)
        return text(f" {request.messages[-1].content.upper()}\n")

    found, sheets, _ = run("dspy", tmp_path, Scripted(wordy), budget=60)
    prompts = {sheet.arm.prompt.name: sheet.arm.prompt for sheet in sheets.values()}
    answers = [turns[-1].content for turns in prompts["bootstrap0+4"].demonstrations]
    assert any(answer.startswith(" ") for answer in answers)
    assert len({request.messages for request in asked}) == len(asked)
    assert found.winner.prompt.name == "raw"


def test_dspy_without_demonstrations_is_refused(tmp_path: Path) -> None:
    with meter(tmp_path, Scripted(model)) as counted, pytest.raises(UsageError, match=r"prompt\.shots"):
        dspy_search.search(spec("dspy").model_copy(update={"shots": (0,)}), FIELD, counted)


def test_failed_calls_stand_at_the_mean_of_the_others() -> None:
    def sample(score: float | None) -> SampleRecord:
        return SampleRecord(task="t", id="i", item_digest="", question="", target="", answer="", scores={"m": score})

    assert gepa_search.filled([sample(1.0), sample(None), sample(0.0)], "m") == [1.0, 0.5, 0.0]
