"""One question to one scored sample: the prompt put around an item, the answer filtered and scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness import metrics
from harness.chat import Found, Library, chat
from harness.engines.base import Answer, Engine, Request
from harness.records import Decoding, Item, Prompt, SampleRecord
from harness.suites import Task


def _request(item: Item, task: Task, prompt: Prompt, decoding: Decoding, found: Found | None) -> Request:
    if item.messages:
        return Request(decoding, messages=chat(prompt, item, found))
    return Request(task.decoding, text=item.text, choices=item.choices or ())


def ask(
    engine: Engine,
    task: Task,
    items: Sequence[Item],
    prompt: Prompt,
    decoding: Decoding,
    adapter: str | None = None,
    repeat: int = 0,
    library: Library | None = None,
) -> Iterator[SampleRecord]:
    """Ask all items and score each answer as it comes, in any order.

    repeat: which repetition it is (0-based); the sampling seed is raised by it. library: where a prompt with
    retrieval looks things up. A prompt with a fixed answer is not asked at all; prompts are for chat items, and
    plain ones are asked as they stand.
    """
    if not items:
        return
    found: Sequence[Found | None] = [None] * len(items)
    if items[0].messages:
        if prompt.fixed_answer is not None:
            fixed = Answer(text=prompt.fixed_answer, finish="stop", tokens_in=0, tokens_out=0)
            yield from (_sample(task, item, fixed, repeat, prompt, None) for item in items)
            return
        if prompt.retrieval is not None:
            if library is None:
                raise ValueError(f"prompt {prompt.name!r} looks things up, and there is no library")
            found = library.look_up(prompt.retrieval, items)
    decoding = decoding.model_copy(update={"seed": decoding.seed + repeat})
    requests = [_request(item, task, prompt, decoding, one) for item, one in zip(items, found, strict=True)]
    for index, answer in engine.answer(requests, adapter):
        yield _sample(task, items[index], answer, repeat, prompt, found[index])


def parsed(prompt: Prompt, text: str) -> tuple[str | None, str]:
    """What was written, as (reasoning or None, answer)."""
    before, mark, after = text.rpartition(prompt.answer_after) if prompt.answer_after else ("", "", text)
    return (before.strip(), after.strip()) if mark else (None, text)


def _sample(
    task: Task, item: Item, answer: Answer, repeat: int, prompt: Prompt, found: Found | None
) -> SampleRecord:  # fmt: skip
    scores: dict[str, float | None] = dict.fromkeys(task.metrics)
    text, reasoning = answer.text, None
    if answer.error is None:
        if item.choices is not None and answer.logprobs is not None:
            text = item.choices[int(np.argmax(answer.logprobs))]
            target = item.choices.index(item.target)
            scores = {
                name: metrics.score_choice(name, answer.logprobs, item.choices, target, task.target_delimiter)
                for name in task.metrics
            }
        elif text is not None:
            if item.messages:
                reasoning, text = parsed(prompt, text)
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
        reasoning=reasoning,
        retrieved=found.ids if found is not None else (),
        logprobs=answer.logprobs,
        finish=answer.finish,
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        latency_s=answer.latency_s,
        cluster=item.cluster,
        slices=item.slices,
    )
