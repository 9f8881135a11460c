"""Before the first call: whether what a prompt spec needs is installed, fits the model, and can be paid for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from harness import models
from harness.chat import Found, chat, demonstration
from harness.data import Row, Split
from harness.errors import Problem
from harness.evaluate import TaskSpec
from harness.prompts.checks import typical_demonstrations
from harness.prompts.contestants import contestants, raw_prompt
from harness.prompts.spec import Contestant, PromptSpec
from harness.records import Item, Message
from harness.retrieval import Passage, Shelves

T = TypeVar("T")
Count = Callable[[Sequence[Sequence[dict[str, str]]]], list[int]]

LONG = 0.95
"""Share of questions, or passages, that are no longer than the one that contestants are tried with."""
LEAST_REASONING = 16
"""Tokens that `reasoning_tokens` must have."""
CHARACTERS = 4
"""Characters of a token, where it cannot be counted: most texts have fewer to a token, so the sum is low."""


def missing_packages(spec: PromptSpec) -> Iterator[Problem]:
    """What the search or the embedding model asks for and is not installed; imports nothing."""
    if spec.search in ("gepa", "dspy") and find_spec(spec.search) is None:
        hint = f"pip install 'finetune-harness[{spec.search}]', or take search: race"
        yield Problem("prompt.search", f"{spec.search!r} is not installed", next=hint)
    if spec.retrieval.by != "bm25" and find_spec("sentence_transformers") is None:
        hint = "pip install 'finetune-harness[retrieval]'; or by: bm25, which needs nothing"
        yield Problem("prompt.retrieval.by", f"{spec.retrieval.by!r} needs sentence-transformers", next=hint)


def too_long(
    spec: PromptSpec,
    task: TaskSpec,
    instruction: str,
    train: Sequence[Item],
    path: Path,
    context: int,
    passages: Sequence[Passage] = (),
) -> Iterator[Problem]:
    """What does not fit the model's context: stated numbers of worked examples, by rows of median length, and
    contestants, by a long question (the 95th percentile of the train rows) and what they put before it.

    The default numbers of the search are not held against anybody: it drops what does not fit, and goes on.

    path: the model's folder. context: tokens that a prompt and its answer may have together. passages: those of
    `spec.retrieval.documents`. Nothing is told where the folder has no tokenizer that can be counted with.
    """
    count = models.token_counter(path)
    if count is None or not train:
        return
    yield from _too_many_shots(spec, task, instruction, train, count, context)
    plans = list(_plans(spec, task, instruction, train, passages))
    found = count([_turns(turns) for plan in plans for turns in (plan.bare, plan.full)])
    for plan, bare, full in zip(plans, found[::2], found[1::2], strict=True):
        if full + plan.answer > context:
            what = (
                f"a long question takes about {full:,} tokens{plan.shown}, and with {plan.answer:,} for the answer "
                f"that is more than the {context:,} that the model takes"
            )
            room = context - plan.answer - bare
            fit = (
                room // max(1, math.ceil((full - bare) / plan.count))
                if plan.count
                else context - full - task.max_tokens
            )
            lower = plan.lower.format(max(0, fit)) if fit >= plan.least else ""
            leave = f"leave {plan.name} out of prompt.contestants"
            hint = f"{lower}, or {leave}" if lower else leave[0].upper() + leave[1:]
            yield Problem("prompt.contestants", f"{plan.name}: {what}", next=hint)


def small_token_budget(spec: PromptSpec, instruction: str, dev: Sequence[Item], path: Path | None) -> Iterator[Problem]:
    """A budget in tokens that cannot hold what the search needs at least: one prompt on all dev items.

    Questions under the task's own instruction are counted, with one token for each answer. path: the model's folder;
    without one, or a tokenizer in it, four characters are taken for a token.
    """
    if spec.search == "none" or spec.budget.unit != "tokens":
        return
    conversations = [_turns(chat(raw_prompt(instruction), item)) for item in dev]
    count = models.token_counter(path) if path is not None else None
    found = count(conversations) if count is not None else [_by_length(turns) for turns in conversations]
    prompts = "one prompt" if spec.search == "race" else "the raw prompt and one other"
    least = (1 if spec.search == "race" else 2) * (sum(found) + len(dev))
    if spec.budget.amount < least:
        what = f"{spec.budget.amount:,} tokens cannot score {prompts} on the {len(dev)} dev items: it takes at least"
        hint = "Give several times that, or use fewer dev rows with data.limit"
        yield Problem("prompt.budget", f"{what} {least:,}", next=hint)


def _too_many_shots(
    spec: PromptSpec, task: TaskSpec, instruction: str, train: Sequence[Item], count: Count, context: int
) -> Iterator[Problem]:
    question = typical_demonstrations(train, 1)[:-1]
    stated = spec.shots if spec.search != "none" and spec.shots != PromptSpec().shots else ()
    asked = sorted({*stated} - {0})
    if not asked or not question:
        return
    system = (Message(role="system", content=instruction),) if instruction else ()
    found = count([_turns([*system, *typical_demonstrations(train, shots), *question]) for shots in asked])
    over = [(shots, tokens) for shots, tokens in zip(asked, found, strict=True) if tokens + task.max_tokens > context]
    if over:
        shots, tokens = over[0]
        fit = [n for n in asked if n < shots]
        what = (
            f"{shots} worked examples with a question take about {tokens:,} tokens, and with {task.max_tokens:,} for "
            f"the answer that is more than the {context:,} that the model takes"
        )
        yield Problem("prompt.shots", what, next=f"Give prompt.shots: {[0, *fit]}")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a contestant will ask."""

    name: str
    bare: Sequence[Message]
    """The question without what the contestant shows."""
    full: Sequence[Message]
    answer: int
    """Tokens that its answer may have."""
    count: int
    """Rows or passages that it shows."""
    shown: str
    """What it shows, in words."""
    lower: str
    """What to give less of; {} is what fits."""
    least: int
    """Smallest number that is worth giving there."""


def _plans(
    spec: PromptSpec, task: TaskSpec, instruction: str, train: Sequence[Item], passages: Sequence[Passage]
) -> Iterator[_Plan]:
    item = _long(train, lambda one: sum(len(turn.content) for turn in demonstration(one)))
    bare = chat(raw_prompt(instruction), item)
    asked: tuple[Contestant, ...] = tuple(name for name in spec.contestants if name in ("few_shot", "cot"))
    rows = Split(name="train", file="", rows=tuple(Row(one, 0) for one in train))
    made = contestants(spec.model_copy(update={"contestants": asked}), task, instruction, rows, Shelves(train))
    for name, arm in made.items():
        full, answer = chat(arm.prompt, item), arm.decoding.max_tokens
        if name == "cot":
            yield _Plan(name, bare, full, answer, 0, "", "Lower prompt.reasoning_tokens to {}", LEAST_REASONING)
        else:
            shown = len(arm.prompt.demonstrations)
            told = f" with its {shown} worked examples"
            yield _Plan(name, bare, full, answer, shown, told, "Give prompt.shots: [0, {}]", 1)
    if "rag" in spec.contestants and spec.retrieval.documents is None:
        shown = min(spec.retrieval.count, len(train))
        full = chat(raw_prompt(instruction), item, Found(demonstrations=(demonstration(item),) * shown))
        told = f" with {shown} rows that are as long"
        yield _Plan("rag", bare, full, task.max_tokens, shown, told, "Lower prompt.retrieval.count to {}", 1)
    elif "rag" in spec.contestants and passages:
        shown = min(spec.retrieval.count, len(passages))
        text = _long(passages, lambda one: len(one.text)).text
        full = chat(raw_prompt(instruction), item, Found(context="\n\n".join([text] * shown)))
        told, lower = f" with {shown} long passages", "Lower prompt.retrieval.count to {}, or prompt.retrieval.words"
        yield _Plan("rag", bare, full, task.max_tokens, shown, told, lower, 1)


def _long(all: Sequence[T], length: Callable[[T], int]) -> T:
    """The one at the 95th percentile of length."""
    return sorted(all, key=length)[math.ceil(LONG * len(all)) - 1]


def _turns(turns: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _by_length(turns: Sequence[dict[str, str]]) -> int:
    return sum(len(turn["content"]) for turn in turns) // CHARACTERS
