"""Several prompts asked at once: a search's round is one call to the engine, which need not run dry between arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.chat import Library
from harness.engines.base import Engine
from harness.engines.cached import uncached
from harness.evaluate.asking import Question, ask_all
from harness.metrics import afresh
from harness.records import Decoding, Item, Prompt, SampleRecord
from harness.suites import Task

Asking = tuple[Prompt, Decoding, Sequence[Item]]


def ask_together(
    engine: Engine, task: Task, asked: Sequence[Asking], library: Library | None = None
) -> Iterator[tuple[int, SampleRecord]]:
    """Ask each prompt its items. Yields (index into asked, scored sample) as answers come, in any order."""
    owner = [index for index, (_, _, items) in enumerate(asked) for _ in items]
    questions = [
        Question(task, item, item.digest, prompt, decoding) for prompt, decoding, items in asked for item in items
    ]
    for at, sample in ask_all(engine, questions, library):
        yield owner[at], sample


def ask_afresh(
    engine: Engine, task: Task, asked: Sequence[Asking], library: Library | None = None
) -> list[tuple[int, SampleRecord]]:
    """As `ask_together`, but told by nothing that engine or judge once said: whether they answer now."""
    with afresh():
        return list(ask_together(uncached(engine), task, asked, library))
