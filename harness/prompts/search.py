"""The search for the best prompt: one entry for all methods, and the record of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from statistics import fmean

from harness.data import Row, Split
from harness.engines.base import Engine
from harness.errors import EngineError, Problem, UsageError
from harness.evaluate import MAX_FAILED, TaskSpec, task_suite
from harness.progress import Progress
from harness.prompts.checks import budget_problems
from harness.prompts.contestants import raw_prompt
from harness.prompts.faults import REPAIR
from harness.prompts.meter import JOURNAL, Arm, Meter, Sheet
from harness.prompts.race import race
from harness.prompts.searching import Field, Found, Searcher
from harness.prompts.spec import PromptSpec, Proposals
from harness.prompts.trace import trace
from harness.records import ArmRecord, Item, PromptRecord
from harness.retrieval import Shelves
from harness.stats import mean_interval
from harness.store import ExperimentStore


def _optimiser(module: str) -> Searcher:
    """Another package's optimiser, imported once it is asked for."""

    def search(spec: PromptSpec, field: Field, meter: Meter) -> Found:
        searcher: Searcher = import_module(f"harness.prompts.{module}").search
        return searcher(spec, field, meter)

    return search


SEARCHES: dict[str, Searcher] = {
    "race": race,
    "gepa": _optimiser("gepa_search"),
    "dspy": _optimiser("dspy_search"),
}
"""Methods by the name that `prompt.search` gives; see `Searcher`."""


def search(
    spec: PromptSpec,
    task: TaskSpec,
    instruction: str,
    train: Split,
    dev: Split,
    engine: Engine,
    shelves: Shelves,
    store: ExperimentStore,
    progress: Progress,
    open_writer: Callable[[Proposals], Engine] | None = None,
) -> PromptRecord:
    """Search, or go on with a search that was ended; with `search: none` the raw prompt is the winner.

    Every answer is journaled in the store as it comes, so that nothing is asked twice; the record is the same as that
    of a search without interruption. open_writer: opens the endpoint that `spec.proposals` names.
    Raises ValueError for splits other than train and dev, UsageError when the budget is too small, EngineError when
    the engine is gone or no arm gets an answer.
    """
    if (train.name, dev.name) != ("train", "dev"):
        raise ValueError(f"the prompt search sees train and dev only, got {train.name} and {dev.name}")
    if spec.search == "none":
        return _no_search(spec, task, instruction)
    if problems := list(budget_problems(spec, len(dev.items))):
        raise UsageError(problems)
    train = _apart(train, dev)
    (asked,) = task_suite(dev, task).tasks
    field = Field(instruction, task, train, dev, ordered(dev.items, spec.seed), shelves)
    elsewhere = spec.proposals is not None and spec.proposals.by != "base"
    if elsewhere and open_writer is None:
        raise ValueError("proposals by an endpoint, and nobody to open it")
    opened = open_writer(spec.proposals) if elsewhere and open_writer and spec.proposals else None
    named = {"proposer": f"{spec.proposals.model} at {spec.proposals.by}"} if opened and spec.proposals else {}
    with (
        store.journal(JOURNAL) as journal,
        progress.bar("prompt search", spec.budget.amount) as bar,
        opened if opened is not None else nullcontext(),
    ):
        meter = Meter(
            spec.budget.amount,
            spec.budget.unit,
            asked,
            engine,
            shelves,
            store,
            journal,
            bar,
            opened,
            note=progress.note,
            **named,
        )
        found = SEARCHES[spec.search](spec, field, meter)
        meter.ask(found.winner, field.order, to_the_end=True)  # where tokens were foreseen too low
    return _record(spec, field, meter, found)


def ordered(items: Sequence[Item], seed: int) -> tuple[Item, ...]:
    """Dev items in a random order in which every stretch has the answers in about the same proportions.

    Each answer's items are shuffled and dealt out evenly from a random place: stratified, so that the first items
    already tell arms apart. Answers that do not repeat make it a plain shuffle.
    """
    rng = random.Random(seed)
    by_answer: dict[str, list[Item]] = {}
    for item in items:
        by_answer.setdefault(item.target.strip(), []).append(item)
    places: list[tuple[float, int, Item]] = []
    for answer in sorted(by_answer):
        same = rng.sample(by_answer[answer], len(by_answer[answer]))
        start = rng.random()
        places += [((at + start) / len(same), len(places) + at, item) for at, item in enumerate(same)]
    return tuple(item for *_, item in sorted(places, key=lambda place: place[:2]))


def _apart(train: Split, dev: Split) -> Split:
    """Train rows under ids that no dev item has: a search may ask both."""
    taken = {item.id for item in dev.items}
    if not any(item.id in taken for item in train.items):
        return train
    rows = (Row(row.item.model_copy(update={"id": f"train/{row.item.id}"}), row.line) for row in train.rows)
    return replace(train, rows=tuple(rows))


def _no_search(spec: PromptSpec, task: TaskSpec, instruction: str) -> PromptRecord:
    """The raw prompt is the bar, and the record says so."""
    return PromptRecord(
        search="none",
        metric=task.metric,
        budget=0,
        calls=0,
        seed=spec.seed,
        dev_ids=(),
        arms=(),
        winner=raw_prompt(instruction),
        winner_decoding=task.decoding,
        winner_dev=mean_interval([]),
    )


def _record(spec: PromptSpec, field: Field, meter: Meter, found: Found) -> PromptRecord:
    names = _names(meter)
    arms = [_arm_record(sheet, names[key], field, meter, found) for key, sheet in meter.sheets.items()]
    place = {key: at for at, key in enumerate([found.winner.key, *found.ranked])}
    order = sorted(
        zip(meter.sheets, arms, strict=True),
        key=lambda one: (place.get(one[0], len(place)), -len(one[1].asked), -(one[1].mean or 0.0)),
    )
    winner = next(arm for key, arm in order if key == found.winner.key)
    scores = [score for score in winner.scores if score is not None]
    samples = meter.sheets[found.winner.key].samples
    faults = [fault for item in field.order if (fault := samples[item.id].error) is not None]
    if not scores or len(faults) > MAX_FAILED * len(field.order):  # it could never be evaluated
        what = f"{len(faults)} of {len(field.order)} calls of the best arm failed"
        last = faults[-1] if faults else "no answer has a score"
        allowed = f"At most {MAX_FAILED:.0%} may fail"
        raise EngineError(Problem("prompt search", f"{what}, the last with: {last}", allowed, REPAIR))
    return PromptRecord(
        search=spec.search,
        metric=field.task.metric,
        budget=spec.budget.amount,
        budget_unit=spec.budget.unit,
        calls=meter.calls,
        tokens=meter.tokens,
        proposer=found.proposer,
        seed=spec.seed,
        dev_ids=tuple(item.id for item in field.order),
        arms=tuple(arm for _, arm in order),
        trace=trace(meter, field.order, names),
        winner=winner.prompt,
        winner_decoding=winner.decoding,
        winner_dev=mean_interval(scores),
    )


def _names(meter: Meter) -> dict[str, str]:
    """Arm key to a name that no other arm has."""
    names: dict[str, str] = {}
    for key, sheet in meter.sheets.items():
        name, number = sheet.arm.prompt.name, 1
        while name in names.values():
            number += 1
            name = f"{sheet.arm.prompt.name} ({number})"
        names[key] = name
    return names


def _arm_record(sheet: Sheet, name: str, field: Field, meter: Meter, found: Found) -> ArmRecord:
    arm: Arm = sheet.arm
    asked = [item for item in field.order if item.id in sheet.samples]
    scores = tuple(sheet.samples[item.id].scores[meter.metric] for item in asked)
    scored = [score for score in scores if score is not None]
    counts = [(s.tokens_in, s.tokens_out) for s in sheet.samples.values() if s.error is None]
    tokens = [i + o for i, o in counts if i is not None and o is not None]
    fate = "winner" if arm.key == found.winner.key else found.fates.get(arm.key) or "did not win"
    return ArmRecord(
        prompt=arm.prompt.model_copy(update={"name": name}),
        decoding=arm.decoding,
        origin=arm.origin,
        asked=tuple(item.id for item in asked),
        scores=scores,
        mean=fmean(scored) if scored else None,
        tokens=sum(tokens) if len(tokens) == len(counts) else None,
        rung=found.rungs.get(arm.key, 0),
        fate=fate,
    )
