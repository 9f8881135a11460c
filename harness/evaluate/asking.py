"""One question to one scored sample: the prompt put around an item, the answer filtered and scored."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from harness import metrics
from harness.chat import Found, Library, chat
from harness.engines.base import Answer, Engine, Request
from harness.records import Decoding, Item, Prompt, SampleRecord
from harness.suites import Task

N = TypeVar("N", int, float)
NO_GREEDY = "this engine does not say whether greedy decoding would write a text"


def _requests(item: Item, task: Task, prompt: Prompt, decoding: Decoding, found: Found | None) -> list[Request]:
    """What is asked for an item: one request, or one for each context where the contexts are compared."""
    if item.messages and task.as_it_stands:
        return [Request(task.decoding, messages=item.messages)]
    if item.messages:
        return [Request(decoding, messages=chat(prompt, item, found))]
    if item.continuation is not None:
        after = (item.continuation,)
        contexts = [(item.text or "") + choice for choice in item.choices or ()]
        return [Request(task.decoding, text=context, choices=after) for context in contexts]
    return [Request(task.decoding, text=item.text, choices=item.choices or ())]


def _answers(engine: Engine, asked: Sequence[Sequence[Request]], adapter: str | None) -> Iterator[tuple[int, Answer]]:
    """(index into asked, answer) as each is whole; several requests of one item make one answer."""
    owner = [(index, part) for index, requests in enumerate(asked) for part in range(len(requests))]
    parts: dict[int, dict[int, Answer]] = {}
    for at, answer in engine.answer([request for requests in asked for request in requests], adapter):
        index, part = owner[at]
        if len(asked[index]) == 1:
            yield index, answer
            continue
        parts.setdefault(index, {})[part] = answer
        if len(parts[index]) == len(asked[index]):
            whole = parts.pop(index)
            yield index, _joined([whole[part] for part in range(len(whole))])


def _joined(answers: Sequence[Answer]) -> Answer:
    """One answer from those to an item's contexts, in order; without all of them there is none."""
    failed = next((answer.error for answer in answers if answer.error is not None), None)
    if failed is not None:
        return Answer(error=failed)
    return Answer(
        logprobs=tuple(answer.logprobs[0] for answer in answers if answer.logprobs),
        tokens_in=_all([answer.tokens_in for answer in answers], sum),
        tokens_out=_all([answer.tokens_out for answer in answers], sum),
        latency_s=_all([answer.latency_s for answer in answers], max),
    )


def _all(values: Sequence[N | None], join: Callable[[list[N]], N]) -> N | None:
    """Values joined; None when one of them is missing."""
    known = [value for value in values if value is not None]
    return join(known) if len(known) == len(values) else None


@dataclass(frozen=True, slots=True)
class Question:
    """One item to be answered once."""

    task: Task
    item: Item
    digest: str
    """The item's digest, taken once."""
    repeat: int = 0
    """Which repetition it is (0-based); the sampling seed is raised by it."""

    @property
    def prompted(self) -> bool:
        """Whether the candidate's prompt is put around it."""
        return bool(self.item.messages) and not self.task.as_it_stands


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
    """Ask all items of one task; see `ask_all`."""
    questions = [Question(task, item, item.digest, repeat) for item in items]
    return ask_all(engine, questions, prompt, decoding, adapter, library)


def ask_all(
    engine: Engine,
    questions: Sequence[Question],
    prompt: Prompt,
    decoding: Decoding,
    adapter: str | None = None,
    library: Library | None = None,
) -> Iterator[SampleRecord]:
    """Ask all questions, of all tasks together, and score each answer as it comes, in any order.

    The engine gets them in one call: it need not run dry at the end of every task. library: where a prompt with
    retrieval looks things up. A prompt with a fixed answer is not asked at all; prompts are for chat items, and
    plain ones are asked as they stand.
    """
    if prompt.fixed_answer is not None:
        fixed = Answer(text=prompt.fixed_answer, finish="stop", tokens_in=0, tokens_out=0)
        yield from (_sample(one, fixed, prompt, None) for one in questions if one.prompted)
        questions = [one for one in questions if not one.prompted]
    found = _looked_up(prompt, [one.item for one in questions if one.prompted], library)
    if not questions:
        return
    asked = [
        _requests(
            one.item,
            one.task,
            prompt,
            decoding.model_copy(update={"seed": decoding.seed + one.repeat}) if one.repeat else decoding,
            found.get(id(one.item)),
        )
        for one in questions
    ]
    for index, answer in _answers(engine, asked, adapter):
        yield _sample(questions[index], answer, prompt, found.get(id(questions[index].item)))


def _looked_up(prompt: Prompt, items: Sequence[Item], library: Library | None) -> dict[int, Found]:
    """What a prompt with retrieval finds for each item, by its `id()`: items of two tasks may share an id."""
    if prompt.retrieval is None or not items:
        return {}
    if library is None:
        raise ValueError(f"prompt {prompt.name!r} looks things up, and there is no library")
    return {id(item): one for item, one in zip(items, library.look_up(prompt.retrieval, items), strict=True)}


def parsed(prompt: Prompt, text: str) -> tuple[str | None, str]:
    """What was written, as (reasoning or None, answer).

    Models write the mark as `**Answer:**`, `answer:` or `Answer :` as well: letter case, spaces and Markdown's signs
    of emphasis in and around it do not count. Of several marks the last one with something after it counts, but one
    further down that is no beginning of a line is prose. The answer ends at a blank line, and emphasis or backticks
    around the whole of it are taken off.
    """
    marks = list(_mark(prompt.answer_after).finditer(text)) if prompt.answer_after else []
    if not marks:
        return None, text
    marks = [mark for mark in marks if text[mark.end() :].strip(MARKUP)] or marks
    lines = [text.count("\n", 0, mark.start()) for mark in marks]
    begins = [line for mark, line in zip(marks, lines, strict=True) if not _before_in_line(text, mark.start())]
    chosen = [mark for mark, line in zip(marks, lines, strict=True) if line == max(begins, default=lines[-1])][-1]
    answer = re.split(r"\n[ \t]*\n", text[chosen.end() :].strip(), maxsplit=1)[0]
    return text[: chosen.start()].strip(), answer.strip(MARKUP)


def _before_in_line(text: str, at: int) -> str:
    return text[:at].rpartition("\n")[2].strip()


MARKUP = " \t\r\n*`"
"""What may stand around an answer and is none of it."""


@functools.cache
def _mark(mark: str) -> re.Pattern[str]:
    """A mark, however it is emphasised."""
    words = re.findall(r"\w+|[^\w\s]", mark)
    return re.compile(r"[*_`#]*" + r"[ \t*_`]*".join(map(re.escape, words)) + r"[*_`]*", re.IGNORECASE)


def _asked_text(item: Item) -> str:
    """The item's own text: its last turn, or the plain text."""
    return item.messages[-1].content if item.messages else item.text or ""


def _sample(question: Question, answer: Answer, prompt: Prompt, found: Found | None) -> SampleRecord:
    task, item = question.task, question.item
    scores: dict[str, float | None] = dict.fromkeys(task.metrics)
    text, reasoning, error = answer.text, None, answer.error
    why: dict[str, str] = {}
    if error is None:
        if item.choices is not None and len(item.choices) == 1 and answer.logprobs is not None:
            # One text alone is likelier than no other: what counts is whether greedy decoding would write it.
            error = NO_GREEDY if answer.greedy is None else None
            text = item.target if answer.greedy else ""
            scores = {name: None if error else float(bool(answer.greedy)) for name in task.metrics}
        elif item.choices is not None and answer.logprobs is not None:
            text = item.choices[int(np.argmax(answer.logprobs))]
            target = item.choices.index(item.target)
            scores = {
                name: metrics.score_choice(name, answer.logprobs, item.choices, target, task.target_delimiter)
                for name in task.metrics
            }
        elif text is not None:
            if question.prompted:
                reasoning, text = parsed(prompt, text)
            text = metrics.apply_filters(text, task.filters)
            found_scores = {name: metrics.score(name, text, item.target, _asked_text(item)) for name in task.metrics}
            scores = {name: one.value for name, one in found_scores.items()}
            why = {name: one.why for name, one in found_scores.items() if one.why is not None}
            error = next((one.why for one in found_scores.values() if one.fault), None)
    return SampleRecord(
        task=task.name,
        id=item.id,
        repeat=question.repeat,
        item_digest=question.digest,
        question=_asked_text(item),
        target=item.target,
        answer=text,
        scores=scores,
        error=error,
        unscored=why,
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
