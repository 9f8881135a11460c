"""One question to one scored sample: the prompt put around an item, the answer filtered and scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness import metrics
from harness.chat import chat
from harness.engines.base import Answer, Engine, Request
from harness.records import Decoding, Item, Prompt, SampleRecord
from harness.suites import Task


def _request(item: Item, task: Task, prompt: Prompt, decoding: Decoding) -> Request:
    if item.messages:
        return Request(decoding, messages=chat(prompt, item))
    return Request(task.decoding, text=item.text, choices=item.choices or ())


def ask(
    engine: Engine,
    task: Task,
    items: Sequence[Item],
    prompt: Prompt,
    decoding: Decoding,
    adapter: str | None = None,
    repeat: int = 0,
) -> Iterator[SampleRecord]:
    """Ask all items and score each answer as it comes, in any order.

    repeat: which repetition it is (0-based); the sampling seed is raised by it.
    """
    decoding = decoding.model_copy(update={"seed": decoding.seed + repeat})
    requests = [_request(item, task, prompt, decoding) for item in items]
    for index, answer in engine.answer(requests, adapter):
        yield _sample(task, items[index], answer, repeat)


def _sample(task: Task, item: Item, answer: Answer, repeat: int) -> SampleRecord:
    scores: dict[str, float | None] = dict.fromkeys(task.metrics)
    text = answer.text
    if answer.error is None:
        if item.choices is not None and answer.logprobs is not None:
            text = item.choices[int(np.argmax(answer.logprobs))]
            target = item.choices.index(item.target)
            scores = {
                name: metrics.score_choice(name, answer.logprobs, item.choices, target, task.target_delimiter)
                for name in task.metrics
            }
        elif text is not None:
            text = metrics.apply_filters(text, task.filters)
            scores = {name: metrics.score_text(name, text, item.target) for name in task.metrics}
    return SampleRecord(
        task=task.name,
        id=item.id,
        repeat=repeat,
        item_digest=item.digest,
        question=item.messages[-1].content if item.messages else item.text or "",
        target=item.target,
        answer=text,
        scores=scores,
        error=answer.error,
        logprobs=answer.logprobs,
        finish=answer.finish,
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        latency_s=answer.latency_s,
        cluster=item.cluster,
        slices=item.slices,
    )
