"""The prompt race: what it may see, what it spends, whom it keeps."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydantic import ValidationError
from scripted import Scripted, text

from harness.data import Row, Split
from harness.engines.base import Answer, Request
from harness.errors import EngineError
from harness.evaluate import TaskSpec
from harness.progress import Silent
from harness.prompts import PromptSpec, arms, draw_demonstrations, race
from harness.records import Item, Message, PromptRecord, SplitName
from harness.store import ExperimentStore, Store

TASK = TaskSpec(metric="exact_match")


def split(name: SplitName, count: int) -> Split:
    items = [
        Item(id=f"{name}{i}", messages=(Message(role="user", content=f"{name} {i}"),), target=f"answer {i % 3}")
        for i in range(count)
    ]
    return Split(name, f"{name}.jsonl", tuple(Row(item, line) for line, item in enumerate(items, 1)))


TRAIN, DEV = split("train", 30), split("dev", 40)


def gold(request: Request) -> str:
    return f"answer {int(request.messages[-1].content.split()[1]) % 3}"


def right_when_listed(request: Request) -> Answer:
    """Only a prompt that lists the labels and shows examples is answered rightly."""
    good = "exactly one of" in request.messages[0].content and len(request.messages) > 2
    return text(gold(request) if good else "no idea")


def run(tmp_path: Path, engine: Scripted, spec: PromptSpec, folder: ExperimentStore | None = None) -> PromptRecord:
    folder = folder or Store(tmp_path).create("x--1", "name: x\n")
    return race(spec, TASK, "Classify.", TRAIN, DEV, engine, folder, Silent())


def test_the_race_finds_the_prompt_that_works(tmp_path: Path) -> None:
    record = run(tmp_path, Scripted(right_when_listed), PromptSpec(budget=400))
    assert record.winner.name.startswith("labels+")
    assert record.winner_dev.value == 1.0


def test_the_race_keeps_to_its_budget_and_says_what_it_spent(tmp_path: Path) -> None:
    for budget in (30, 100, 250):
        engine = Scripted(right_when_listed)
        record = run(tmp_path / str(budget), engine, PromptSpec(budget=budget))
        assert engine.calls == record.calls <= budget


def test_the_raw_prompt_is_an_arm_and_wins_when_nothing_is_better(tmp_path: Path) -> None:
    record = run(tmp_path, Scripted(lambda request: text(gold(request))), PromptSpec(budget=300))
    assert record.winner.name == "raw"
    assert record.winner.demonstrations == ()


def test_every_arm_says_why_it_fell(tmp_path: Path) -> None:
    record = run(tmp_path, Scripted(right_when_listed), PromptSpec(budget=300))
    assert [arm.fate for arm in record.arms].count("winner") == 1
    assert all(arm.fate == "winner" or arm.fate.startswith("fell in round") for arm in record.arms)


def test_a_race_that_died_goes_on_without_asking_twice(tmp_path: Path) -> None:
    spec = PromptSpec(budget=200)
    whole = run(tmp_path / "a", Scripted(right_when_listed), spec)
    folder = Store(tmp_path / "b").create("x--1", "name: x\n")
    first = Scripted(right_when_listed, dies_after=57)
    with pytest.raises(EngineError):
        run(tmp_path, first, spec, folder)
    second = Scripted(right_when_listed)
    assert run(tmp_path, second, spec, folder) == whole
    assert first.calls + second.calls == whole.calls


def test_the_test_split_is_refused(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x--1", "name: x\n")
    engine = Scripted(right_when_listed)
    with pytest.raises(ValueError, match="train and dev only"):
        race(PromptSpec(), TASK, "", TRAIN, split("test", 9), engine, folder, Silent())
    assert engine.calls == 0


def test_demonstrations_come_from_train_and_are_spread_over_the_answers() -> None:
    drawn = draw_demonstrations(TRAIN.items, 6, random.Random(0))
    assert sorted(item.target for item in drawn) == [f"answer {i}" for i in (0, 0, 1, 1, 2, 2)]
    assert len({item.id for item in drawn}) == 6


def test_arms_are_distinct_and_reproducible() -> None:
    made = arms(PromptSpec(), "Classify.", TRAIN)
    assert made == arms(PromptSpec(), "Classify.", TRAIN)
    assert len({(p.instruction, p.demonstrations) for p in made}) == len(made)
    assert made[0].name == "raw"


def test_the_users_own_instruction_is_tried(tmp_path: Path) -> None:
    made = arms(PromptSpec(instructions=("Say which.",)), "Classify.", TRAIN)
    assert any(prompt.instruction == "Say which." for prompt in made)


def test_partial_credit_decides_where_no_prompt_is_wholly_right(tmp_path: Path) -> None:
    def nearly(request: Request) -> Answer:
        return text(gold(request) + " or so" if len(request.messages) > 2 else "no idea")

    folder = Store(tmp_path).create("x--1", "name: x\n")
    task = TaskSpec(metric="exact_match", metrics=("contains",))
    record = race(PromptSpec(budget=300), task, "Classify.", TRAIN, DEV, Scripted(nearly), folder, Silent())
    assert record.winner_dev.value == 0.0
    assert record.winner.demonstrations


def test_too_small_a_budget_is_an_error() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 8"):
        PromptSpec(budget=7)


def test_the_smallest_budget_gives_one_arm_a_round(tmp_path: Path) -> None:
    assert run(tmp_path, Scripted(right_when_listed), PromptSpec(budget=8)).winner.name == "raw"


def test_an_arm_whose_calls_fail_falls_and_the_race_goes_on(tmp_path: Path) -> None:
    def reply(request: Request) -> Answer:
        return Answer(error="too long") if len(request.messages) > 2 else text(gold(request))

    record = run(tmp_path, Scripted(reply), PromptSpec(budget=300))
    assert record.winner.demonstrations == ()
    assert any("too long" in arm.fate for arm in record.arms)


def test_when_every_call_fails_the_race_stops_with_the_fault(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no arm got an answer.*server gone"):
        run(tmp_path, Scripted(lambda request: Answer(error="server gone")), PromptSpec(budget=100))
