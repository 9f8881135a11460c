"""Questions to scored samples: the prompt put around an item, the answer filtered and scored."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from harness import metrics
from harness.chat import Found, Library, chat
from harness.engines.base import Answer, Engine, Request
from harness.evaluate.threads import in_threads
from harness.records import Decoding, Item, Message, Prompt, Retrieval, SampleRecord
from harness.suites import Task

N = TypeVar("N", int, float)
VERDICTS: Final = 16
"""Answers that wait for a judge at the same time."""
NO_GREEDY = "this engine does not say whether greedy decoding would write a text"


@dataclass(frozen=True, slots=True)
class Question:
    """One item to be answered once, and by whom."""

    task: Task
    item: Item
    digest: str
    """The item's digest, taken once."""
    prompt: Prompt
    """Put around a chat item; plain ones are asked as they stand."""
    decoding: Decoding
    """Of a chat item; plain ones have their task's."""
    adapter: str | None = None
    """Name under which the engine serves it; None for the base model."""
    repeat: int = 0
    """Which repetition it is (0-based); the sampling seed is raised by it."""

    @property
    def prompted(self) -> bool:
        """Whether the prompt is put around it."""
        return bool(self.item.messages) and not self.task.as_it_stands

    @property
    def fixed(self) -> bool:
        """Whether its answer is the prompt's own, so that no engine is asked."""
        return self.prompted and self.prompt.fixed_answer is not None


def ask(
    engine: Engine,
    task: Task,
    items: Sequence[Item],
    prompt: Prompt,
    decoding: Decoding,
    library: Library | None = None,
) -> Iterator[SampleRecord]:
    """Ask all items of one task; see `ask_all`."""
    questions = [Question(task, item, item.digest, prompt, decoding) for item in items]
    return (sample for _, sample in ask_all(engine, questions, library))


def ask_all(
    engine: Engine, questions: Sequence[Question], library: Library | None = None
) -> Iterator[tuple[int, SampleRecord]]:
    """Ask all questions, of all tasks, prompts and models together, and score each answer as it comes.

    Yields (index into questions, sample) in any order. The engine gets them in one call: it need not run dry at the
    end of any of them. library: where prompts with retrieval look things up.
    """
    found = _looked_up(questions, library)
    answers = _answers(engine, questions, found)
    if not any(_judges(task) for task in {id(one.task): one.task for one in questions}.values()):
        yield from ((index, _sample(questions[index], answer, found[index], {})) for index, answer in answers)
        return
    judged = in_threads(lambda come: (*come, _verdicts(questions[come[0]], come[1])), answers, VERDICTS)
    for index, answer, verdicts in judged:
        yield index, _sample(questions[index], answer, found[index], verdicts)


def _looked_up(questions: Sequence[Question], library: Library | None) -> list[Found | None]:
    """What prompts with retrieval find for each question."""
    found: list[Found | None] = [None] * len(questions)
    places: dict[Retrieval, list[int]] = {}
    for at, one in enumerate(questions):
        if one.prompted and one.prompt.retrieval is not None:
            places.setdefault(one.prompt.retrieval, []).append(at)
    for retrieval, own in places.items():
        if library is None:
            raise ValueError(f"prompt {questions[own[0]].prompt.name!r} looks things up, and there is no library")
        seen = library.look_up(retrieval, [questions[at].item for at in own])
        for at, one_found in zip(own, seen, strict=True):
            found[at] = one_found
    return found


def _requests(question: Question, found: Found | None) -> list[Request]:
    """What is asked: one request, or one for each context where the contexts are compared."""
    item, task, adapter = question.item, question.task, question.adapter
    if item.messages and not question.prompted:
        return [Request(_seeded(task.decoding, question.repeat), messages=item.messages, adapter=adapter)]
    if item.messages:
        decoding = _seeded(question.decoding, question.repeat)
        choices = (item.choices or ()) if task.output_type == "choice" else ()
        return [Request(decoding, chat(question.prompt, item, found), choices=choices, adapter=adapter)]
    if item.continuation is not None:
        after = (item.continuation,)
        contexts = [(item.text or "") + choice for choice in item.choices or ()]
        return [Request(task.decoding, text=context, choices=after, adapter=adapter) for context in contexts]
    decoding = _seeded(task.decoding, question.repeat)
    return [Request(decoding, text=item.text, choices=item.choices or (), adapter=adapter)]


def _seeded(decoding: Decoding, repeat: int) -> Decoding:
    return decoding.model_copy(update={"seed": decoding.seed + repeat}) if repeat else decoding


def _answers(
    engine: Engine, questions: Sequence[Question], found: Sequence[Found | None]
) -> Iterator[tuple[int, Answer]]:
    """(index into questions, answer) as each is whole; several requests of one item make one answer."""
    owner, requests, wanted = list[tuple[int, int]](), list[Request](), dict[int, int]()
    for index, (question, seen) in enumerate(zip(questions, found, strict=True)):
        if question.fixed:
            yield index, Answer(text=question.prompt.fixed_answer, finish="stop", tokens_in=0, tokens_out=0)
            continue
        own = _requests(question, seen)
        owner += [(index, part) for part in range(len(own))]
        requests += own
        if len(own) > 1:
            wanted[index] = len(own)
    parts: dict[int, dict[int, Answer]] = {}
    for at, answer in engine.answer(requests) if requests else ():
        index, part = owner[at]
        if index not in wanted:
            yield index, answer
            continue
        parts.setdefault(index, {})[part] = answer
        if len(parts[index]) == wanted[index]:
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


def _written(question: Question, text: str) -> tuple[str | None, str]:
    """What was written, as (reasoning or None, what is scored)."""
    reasoning, answer = parsed(question.prompt, text) if question.prompted else (None, text)
    return reasoning, metrics.apply_filters(answer, question.task.filters)


def _judges(task: Task) -> list[str]:
    """Its metrics that ask a judge."""
    return [name for name in task.metrics if metrics.get(name).needs == "judge"]


def _verdicts(question: Question, answer: Answer) -> dict[str, metrics.Scored]:
    """Scores by the metrics that ask a judge."""
    names = _judges(question.task)
    if not names or answer.error is not None or answer.text is None:
        return {}
    return _scored(question, names, _written(question, answer.text)[1])


def _scored(question: Question, names: Sequence[str], text: str) -> dict[str, metrics.Scored]:
    item = question.item
    return {name: metrics.score(name, text, item.target, _asked_text(item)) for name in names}


def item_of(sample: SampleRecord) -> Item | None:
    """The item that a stored sample answers, proven by its digest; None where the sample does not show all of it.

    It does not for several turns, choices and plain texts.
    """
    turn = Message(role="user", content=sample.question)
    told = {"target": sample.target, "cluster": sample.cluster, "slices": sample.slices}
    item = Item(id=sample.id, messages=(turn,), **told)
    return item if item.digest == sample.item_digest else None


def _sample(
    question: Question, answer: Answer, found: Found | None, verdicts: Mapping[str, metrics.Scored]
) -> SampleRecord:
    """verdicts: scores of metrics that were asked for before."""
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
            reasoning, text = _written(question, text)
            own = _scored(question, [name for name in task.metrics if name not in verdicts], text)
            told = {name: verdicts[name] if name in verdicts else own[name] for name in task.metrics}
            scores = {name: one.value for name, one in told.items()}
            why = {name: one.why for name, one in told.items() if one.why is not None}
            error = next((one.why for one in told.values() if one.fault), None)
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
