"""The prompt race: the best prompt that a budget of model calls finds, on train and dev alone.

Arms are instruction variants x demonstration sets. They race by successive halving
(Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification", Algorithm 1):
every round asks the surviving arms the same further dev items and drops the worse
half, so that the budget goes to the arms that may win. The raw prompt is an arm
too and is never dropped before the last round: on dev the winner is at least as good.

The test split cannot reach this module: `race` takes splits and refuses any that is
not train or dev.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.data import Split
from harness.engines.base import Engine
from harness.errors import EngineError, Problem
from harness.evaluate import TaskSpec, ask, task_suite
from harness.progress import Bar, Progress
from harness.prompts.arms import PromptSpec, arms, raw_prompt
from harness.records import ArmRecord, Item, Prompt, PromptRecord, SampleRecord, digest
from harness.stats import mean_interval
from harness.store import ExperimentStore, Journal
from harness.suites import Task

SMALLEST_ROUND = 8
"""Fewer items than this in the first round tell arms apart no better than a coin."""


@dataclass
class _Arm:
    prompt: Prompt
    scores: dict[str, float | None] = field(default_factory=dict)
    """Item id to primary score."""
    others: list[tuple[float, ...]] = field(default_factory=list)
    """Scores by the task's further metrics, an entry per scored item."""
    rung: int = 0
    fate: str = ""
    fault: str = ""

    @property
    def mean(self) -> float | None:
        scored = [score for score in self.scores.values() if score is not None]
        return float(np.mean(scored)) if scored else None

    @property
    def rank(self) -> tuple[float, tuple[float, ...], int]:
        """Best first; of equals the better by the further metrics, then the shorter prompt, which is cheaper.

        Where no prompt gets an answer wholly right, partial credit still tells them apart.
        """
        mean = self.mean
        partial = tuple(-float(column.mean()) for column in np.array(self.others).T) if self.others else ()
        length = len(self.prompt.instruction) + sum(len(t.content) for d in self.prompt.demonstrations for t in d)
        return (-mean if mean is not None else math.inf, partial, length)


def race(
    spec: PromptSpec,
    task_spec: TaskSpec,
    instruction: str,
    train: Split,
    dev: Split,
    engine: Engine,
    store: ExperimentStore,
    progress: Progress,
) -> PromptRecord:
    """Run or resume the race. Raises EngineError when no arm gets an answer."""
    if (train.name, dev.name) != ("train", "dev"):
        raise ValueError(f"the prompt race sees train and dev only, got {train.name} and {dev.name}")
    (task,) = task_suite(dev, task_spec).tasks
    order = random.Random(spec.seed).sample(list(dev.items), len(dev.items))
    field_ = [_Arm(prompt) for prompt in arms(spec, instruction, train)]
    field_ = _fit(field_, spec.budget, len(order))
    rounds = _rounds(len(field_))
    lines = store.journal_lines("prompt", SampleRecord)
    known = {(s.task, s.id, s.item_digest): s for s in lines if s.error is None}
    asked = 0
    total = _plan(len(field_), spec.budget, len(order))
    with store.journal("prompt") as journal, progress.bar("prompt race", total) as bar:
        alive = field_
        for rung in range(rounds):
            share = spec.budget * (rung + 1) // rounds - asked
            upto = min(len(order), max(len(arm.scores) for arm in alive) + share // len(alive))
            for arm in alive:
                arm.rung = rung
                asked += _extend(arm, order[:upto], task, engine, journal, known, bar)
            if all(arm.mean is None for arm in alive):
                hint = "Look at the logs folder of the experiment; run again"
                raise EngineError(Problem("prompt race", f"no arm got an answer: {alive[0].fault}", next=hint))
            alive = _halve(alive, rung, last=rung == rounds - 1)
    ranked = sorted(field_, key=lambda arm: (arm.fate != "winner", -arm.rung, arm.rank))
    return _record(spec, task_spec, order, ranked, asked)


def _rounds(count: int) -> int:
    return max(1, math.ceil(math.log2(count)))


def _plan(count: int, budget: int, items: int) -> int:
    """Calls that the race will make, for the bar."""
    asked, seen, alive, rounds = 0, 0, count, _rounds(count)
    for rung in range(rounds):
        more = min(items - seen, (budget * (rung + 1) // rounds - asked) // alive)
        asked, seen, alive = asked + more * alive, seen + more, max(1, math.ceil(alive / 2))
    return asked


def _fit(field_: list[_Arm], budget: int, items: int) -> list[_Arm]:
    """As many arms as the budget can tell apart, spread over the list; the raw prompt stays."""
    per_arm = min(SMALLEST_ROUND, items)
    most = len(field_)
    while most > 1 and budget // _rounds(most) < most * per_arm:
        most -= 1
    if most >= len(field_):
        return field_
    step = (len(field_) - 1) / max(1, most - 1)
    return [field_[round(index * step)] for index in range(most)]


def _extend(
    arm: _Arm,
    items: Sequence[Item],
    task: Task,
    engine: Engine,
    journal: Journal,
    known: dict[tuple[str, str, str], SampleRecord],
    bar: Bar,
) -> int:
    """Ask one arm the items it has not had; answers from an earlier sitting are taken over."""
    key = digest(arm.prompt.model_dump(mode="json", exclude={"name"}))
    fresh = [item for item in items if item.id not in arm.scores]
    metric = task.metrics[0]
    found = {item.id: known[key, item.id, item.digest] for item in fresh if (key, item.id, item.digest) in known}
    bar.advance(len(found), arm.prompt.name)
    owed = [item for item in fresh if item.id not in found]
    for sample in ask(engine, task, owed, arm.prompt, task.decoding):
        found[sample.id] = sample.model_copy(update={"task": key})
        journal.append([found[sample.id]])
        bar.advance(1, arm.prompt.name)
    for item in fresh:
        scores = found[item.id].scores
        arm.scores[item.id] = scores[metric]
        further = tuple(value for name in task.metrics[1:] if (value := scores[name]) is not None)
        if len(further) == len(task.metrics) - 1:
            arm.others.append(further)
    faults = [sample.error for sample in found.values() if sample.error]
    if faults:
        arm.fault = f"{len(faults)} calls failed: {faults[-1]}"
    return len(fresh)


def _halve(alive: list[_Arm], rung: int, last: bool) -> list[_Arm]:
    """The better half, and the raw prompt in any case; after the last round the winner."""
    ranked = sorted(alive, key=lambda arm: arm.rank)
    keep = 1 if last else max(1, math.ceil(len(ranked) / 2))
    kept = ranked[:keep]
    if not last and not any(arm.prompt.name == "raw" for arm in kept):
        kept = kept[:-1] + [arm for arm in ranked if arm.prompt.name == "raw"] if len(kept) > 1 else kept
    for arm in ranked:
        if arm not in kept:
            best, tail = ranked[0], f" ({arm.fault})" if arm.fault else ""
            seen = f"{_percent(arm.mean)} against {_percent(best.mean)} of {best.prompt.name}"
            arm.fate = f"fell in round {rung + 1}: {seen}{tail}"
    if last:
        kept[0].fate = "winner"
    return kept


def _percent(mean: float | None) -> str:
    return "unscored" if mean is None else f"{100 * mean:.1f} %"


def _record(
    spec: PromptSpec, task_spec: TaskSpec, order: Sequence[Item], ranked: Sequence[_Arm], asked: int
) -> PromptRecord:
    winner = ranked[0]
    scored = [score for score in winner.scores.values() if score is not None]
    return PromptRecord(
        search=spec.search,
        metric=task_spec.metric,
        budget=spec.budget,
        calls=asked,
        seed=spec.seed,
        dev_ids=tuple(item.id for item in order),
        arms=tuple(
            ArmRecord(
                prompt=arm.prompt,
                scores=tuple(arm.scores[item.id] for item in order if item.id in arm.scores),
                mean=arm.mean,
                rung=arm.rung,
                fate=arm.fate,
            )
            for arm in ranked
        ),
        winner=winner.prompt,
        winner_dev=mean_interval(scored),
    )


def no_search(spec: PromptSpec, task_spec: TaskSpec, instruction: str) -> PromptRecord:
    """`search: none`: the raw prompt is the bar, and the record says so."""
    return PromptRecord(
        search="none",
        metric=task_spec.metric,
        budget=0,
        calls=0,
        seed=spec.seed,
        dev_ids=(),
        arms=(),
        winner=raw_prompt(instruction),
        winner_dev=mean_interval([]),
    )
