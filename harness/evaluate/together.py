"""Several prompts asked at once: a search's round is one call to the engine, which need not run dry between arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.chat import Library
from harness.engines.base import Engine
from harness.evaluate.asking import Question, _answers, _looked_up, _requests, _sample
from harness.records import Decoding, Item, Prompt, SampleRecord
from harness.suites import Task

Asking = tuple[Prompt, Decoding, Sequence[Item]]


def ask_together(
    engine: Engine, task: Task, asked: Sequence[Asking], library: Library | None = None
) -> Iterator[tuple[int, SampleRecord]]:
    """Ask each prompt its items. Yields (index into asked, scored sample) as answers come, in any order.

    As `ask`, for each of them; a prompt with a fixed answer raises ValueError, since no engine answers it.
    """
    owner, requests = [], []
    for index, (prompt, decoding, items) in enumerate(asked):
        if prompt.fixed_answer is not None:
            raise ValueError(f"prompt {prompt.name!r} has a fixed answer, and no engine is asked for it")
        questions = [Question(task, item, item.digest) for item in items]
        found = _looked_up(prompt, [one.item for one in questions if one.prompted], library)
        for one in questions:
            seen = found.get(id(one.item))
            requests.append(_requests(one.item, task, prompt, decoding, seen))
            owner.append((index, one, prompt, seen))
    if not requests:
        return
    for at, answer in _answers(engine, requests, None):
        index, question, prompt, seen = owner[at]
        yield index, _sample(question, answer, prompt, seen)
