"""Questions that were judged, put together again from what the store keeps of them, and asked once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness import spec as specs
from harness.chat import Found, chat
from harness.engines.base import Engine, Request
from harness.errors import HarnessError
from harness.evaluate import TASK_SUITE, item_of, parsed
from harness.records import Candidate, Item, Message, RunRecord
from harness.retrieval import Shelves
from harness.store import ExperimentStore

ASKED: Final = 8
"""Judged questions that are asked again."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One judged question, whole."""

    id: str
    messages: tuple[Message, ...]
    """Every turn that was sent, prompt and demonstrations included."""
    answer: str
    """What was scored then."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Judged questions asked again."""

    asked: int
    same: int
    """Of which the answer was the one that was judged."""
    differ: tuple[tuple[str, str, str], ...]
    """Id, judged answer, answer now (or why there is none) of the others."""
    note: str = ""
    """Why none was asked, or what the comparison rests on."""


def judged_questions(folder: ExperimentStore, run: RunRecord, most: int = ASKED) -> tuple[list[Judged], str]:
    """Some questions of a run, spread over it, and why there are none.

    The test split stays sealed: a question is put together from its sample, and proven to be what was asked by its
    digest. That cannot be done where the sample shows a part of it alone (several turns, choices, plain texts).
    """
    if run.suite != TASK_SUITE:
        return [], "it was judged on suites alone, whose questions stand as they are, without its prompt"
    samples = [one for one in folder.samples(run.id) if one.answer is not None and not one.repeat and not one.error]
    whole = [(sample, item) for sample in samples if (item := item_of(sample)) is not None]
    if not whole:
        why = "no answer was judged" if not samples else "its questions have several turns, or answers were chosen"
        return [], f"{why}, so they cannot be put together from the store"
    some = whole[:: max(1, len(whole) // most)][:most]
    try:
        found = _looked_up(folder, run.candidate, [item for _, item in some])
    except HarnessError as fault:
        return [], f"what is looked up for its questions cannot be: {fault}"
    return [
        Judged(sample.id, chat(run.candidate.prompt, item, seen), sample.answer or "")
        for (sample, item), seen in zip(some, found, strict=True)
    ], ""


def ask_again(engine: Engine, name: str | None, candidate: Candidate, questions: Sequence[Judged]) -> Repeated:
    """The questions asked of a running engine. name: of the adapter there; None for the base model."""
    requests = [Request(candidate.decoding, messages=one.messages, adapter=name) for one in questions]
    differ = []
    for at, answer in engine.answer(requests):
        one = questions[at]
        said = None if answer.text is None else parsed(candidate.prompt, answer.text)[1]
        if said != one.answer:
            differ.append((one.id, one.answer, f"no answer: {answer.error}" if said is None else said))
    sampled = "answers are sampled, so they may differ" if candidate.decoding.temperature else ""
    return Repeated(len(questions), len(questions) - len(differ), tuple(sorted(differ)), sampled)


def _looked_up(folder: ExperimentStore, candidate: Candidate, items: Sequence[Item]) -> Sequence[Found | None]:
    retrieval = candidate.prompt.retrieval
    if retrieval is None:
        return [None] * len(items)
    of = folder.spec().get("task_of")  # of a deploy gate: the experiment whose task it asked
    home = folder.path.parent / str(of) if of else folder.path
    shelves: Shelves = specs.load(home / "spec.yaml").shelves()
    return shelves.look_up(retrieval, items)
