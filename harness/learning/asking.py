"""Asking before a training: a teacher, a judge or the base model answers, and every answer is durable as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from harness import models
from harness.chat import Library
from harness.engines import Engine, ServeSpec, open_endpoint, open_engine
from harness.errors import EngineError, Problem
from harness.evaluate import MAX_FAILED
from harness.evaluate.asking import Question, ask_all
from harness.learning.ground import Ground
from harness.progress import Bar
from harness.records import SampleRecord
from harness.store import Journal

AT_ONCE: Final = 256
"""Questions handed to an engine together; between two such calls it is seen whether it still answers."""
REPAIR: Final = "Repair the service and run again: what was answered is kept, only the rest is asked"
BASE: Final = "base"
"""In place of a model's name: the base model itself."""


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who answers."""

    engine: Engine
    name: str
    """As records name it; of a local model with its digest."""


@contextmanager
def answerer(
    ground: Ground, url: str | None, model: str, key_env: str, where: str, free: Callable[[], None]
) -> Iterator[Answerer]:
    """Open a model: at a server, the base model itself, or another local one.

    where: the key of the spec that names it. free: called before a local model other than the base model is loaded,
    since an engine that is open holds memory. Raises EngineError, ModelError.
    """
    if url is not None:
        with open_endpoint(url, model, key_env, ground.progress.note) as engine:
            yield Answerer(engine, f"{model} at {urlsplit(url).netloc}")
        return
    if model == BASE:
        if ground.engine is None:
            raise EngineError(Problem(where, "there is no engine that answers for the base model here"))
        yield Answerer(ground.engine(), f"{ground.model.ref.name} ({ground.model.ref.digest[:12]})")
        return
    local = models.resolve(model, near=ground.near, note=ground.progress.note)
    free()
    log = ground.folder.log_path(f"{where.rpartition('.')[2]}.log")
    with open_engine(ServeSpec(), local, max_adapters=0, log=log, note=ground.progress.note) as engine:
        yield Answerer(engine, f"{local.ref.name} ({local.ref.digest[:12]})")


def ask(
    who: Answerer, questions: Sequence[Question], ground: Ground, journal: str, label: str, library: Library | None
) -> list[SampleRecord]:
    """One sample a question, in their order. What an earlier sitting asked is not asked again.

    A question is known by its task's name, its item's content and its repeat: the name must tell the conditions.
    A call that failed is asked once more. Raises EngineError when more than `MAX_FAILED` of the calls fail: what came
    is kept, and the next sitting asks only what is owed. Fewer are left without an answer.
    """
    kept = ground.folder.journal_lines(journal, SampleRecord)
    known = {(one.task, one.item_digest, one.repeat): one for one in kept if one.error is None}
    samples = [known.get((one.task.name, one.digest, one.repeat)) for one in questions]
    owed = [at for at, sample in enumerate(samples) if sample is None]
    failed = 0
    if not owed:
        return [sample for sample in samples if sample is not None]
    with (
        ground.folder.journal(journal) as lines,
        ground.progress.bar(label, len(questions), len(questions) - len(owed)) as bar,
    ):
        for start in range(0, len(owed), AT_ONCE):
            part = owed[start : start + AT_ONCE]
            try:
                faults = _taken(who.engine, questions, part, library, samples, lines, bar)
                if faults:  # a call that fails once more has failed
                    faults = _taken(who.engine, questions, list(faults), library, samples, lines, bar)
            except EngineError as fault:
                gone = Problem(label, f"{who.name} went away", next=REPAIR)
                raise EngineError([*fault.problems, gone]) from fault
            failed += len(faults)
            if faults and failed > MAX_FAILED * max(len(questions), len(part)):
                what = f"{failed} calls of {who.name} failed, the last with: {list(faults.values())[-1]}"
                raise EngineError(Problem(label, what, f"At most {MAX_FAILED:.0%} may fail", REPAIR))
    return [sample for sample in samples if sample is not None]


def _taken(
    engine: Engine,
    questions: Sequence[Question],
    asked: Sequence[int],
    library: Library | None,
    samples: list[SampleRecord | None],
    lines: Journal,
    bar: Bar,
) -> dict[int, str]:
    """Ask, and put samples in their places; whole answers are in the journal by then. Returns the faults of others."""
    faults = {}
    for at, sample in ask_all(engine, [questions[index] for index in asked], library):
        samples[asked[at]] = sample
        if sample.error is None:
            lines.append([sample])
            bar.advance()
        else:
            faults[asked[at]] = sample.error
    return faults


def cut_short(samples: Sequence[SampleRecord]) -> int:
    """How many answers reached the most tokens that they may have."""
    return sum(sample.finish == "length" for sample in samples)


def tokens(samples: Sequence[SampleRecord]) -> tuple[int, int]:
    """Prompt tokens and generated tokens of all answers, those without a count left out."""
    return sum(one.tokens_in or 0 for one in samples), sum(one.tokens_out or 0 for one in samples)
