"""Candidates' answers to suites, made durable one by one, as many as are wanted."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

from harness import metrics
from harness.asking import asking_key
from harness.chat import Library
from harness.engines.base import Engine
from harness.errors import EngineError, Problem
from harness.evaluate.asking import Question, ask_all
from harness.evaluate.summary import summarise
from harness.evaluate.task import run_id
from harness.progress import Progress
from harness.records import Candidate, EarlyStop, Item, RunRecord, SampleRecord
from harness.store import ExperimentStore, JournalSamples, Place
from harness.suites import Suite, Task

ItemKey = tuple[str, str]
SampleKey = tuple[str, str, int]
Plan = Mapping[SampleKey, str]
Batch = list[tuple[Task, list[Item]]]

MAX_FAILED = 0.02
"""Share of calls that may fail for good and be left unscored; more is a fault, not a result."""
CHECKS, SMALLEST_BATCH = 32, 16
"""How often a watched evaluation looks at most, and how many items it asks at least before it does."""


class Watch(Protocol):
    """Says, as answers come in a random order, whether any more are needed."""

    method: str
    """The anytime-valid method behind it."""
    seed: int
    """Seed of the order in which items are asked."""

    def is_decided(self, samples: Sequence[SampleRecord]) -> bool:
        """Whether the answers so far decide everything that depends on this run. samples: all so far, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One candidate to be evaluated on one suite."""

    candidate: Candidate
    suite: Suite
    adapter: str | None = None
    """Name under which the engine serves the candidate's adapter."""
    watch: Watch | None = None
    """Says when no more answers are needed."""


def evaluate(
    candidate: Candidate,
    suite: Suite,
    engine: Engine,
    store: ExperimentStore,
    progress: Progress,
    adapter: str | None = None,
    watch: Watch | None = None,
    library: Library | None = None,
) -> RunRecord:
    """One candidate on one suite; see `evaluate_all`."""
    [(_, run)] = evaluate_all([Job(candidate, suite, adapter, watch)], engine, store, progress, library)
    return run


def evaluate_all(
    jobs: Sequence[Job], engine: Engine, store: ExperimentStore, progress: Progress, library: Library | None = None
) -> Iterator[tuple[int, RunRecord]]:
    """Ask what is still owed, and write each run's manifest. Yields (index into jobs, run) as runs are done.

    An engine that has several models in flight gets the questions of all jobs together, in turns; another one those of
    one job after the other. Jobs make runs of different names. library: where prompts with retrieval look things up.
    An item is done when this very content was answered; lines about anything else are left out. With a `watch`, items
    are asked in a random order fixed by its seed, batch by batch, and no more once it is decided; a killed run goes on
    in the same order to the same end.
    Raises EngineError when more than `MAX_FAILED` of a run's calls failed: that is a fault to repair, not a score, and
    the failed ones alone are asked again. Runs that were whole are done all the same.
    """
    if len(jobs) > 1 and not engine.concurrent:
        first: dict[str | None, int] = {}
        for job in jobs:
            first.setdefault(job.adapter, len(first))
        for at in sorted(range(len(jobs)), key=lambda at: first[jobs[at].adapter]):  # who has an engine of its own
            yield from ((at, run) for _, run in evaluate_all([jobs[at]], engine, store, progress, library))
        return
    with ExitStack() as stack:
        runs = [_Run(job, store, stack) for job in jobs]
        planned, done = sum(len(run.plan) for run in runs), sum(len(run.done) for run in runs)
        shown = stack.enter_context(progress.bar(_label(jobs), planned, done))
        going, faults = dict(enumerate(runs)), list[Problem]()
        while going:
            owed = {at: questions for at, run in going.items() if (questions := run.next()) is not None}
            for at in [at for at in going if at not in owed]:
                try:
                    made = going.pop(at).finish(engine)
                except EngineError as fault:
                    faults += fault.problems
                    continue
                yield at, made
            asked = list(_in_turns(owed))
            began, hits = time.monotonic(), told_again(engine)
            for index, sample in ask_all(engine, [question for _, question in asked], library):
                going[asked[index][0]].keep(sample)
                shown.advance()
            share_time([going[at] for at in owed], time.monotonic() - began, told_again(engine) == hits)
        if faults:
            raise EngineError(faults)


def told_again(engine: Engine) -> int:
    """Answers that its cache told so far."""
    return int(getattr(engine, "hits", 0))


def share_time(runs: Sequence[_Run], seconds: float, fresh: bool) -> None:
    """Give each run its share, by latency, of the time in which all were in flight.

    fresh: whether the model itself was asked for every answer.
    """
    together = sum(run.latency for run in runs)
    for run in runs:
        if run.machine_s is not None:
            known = fresh and together > 0 and not run.waited
            run.machine_s = run.machine_s + seconds * run.latency / together if known else None
        run.latency = 0.0


def _in_turns(owed: Mapping[int, Sequence[Question]]) -> Iterator[tuple[int, Question]]:
    """One question of each run after the other, so that all are in flight in the same company."""
    for row in zip_longest(*owed.values()):
        yield from ((at, question) for at, question in zip(owed, row, strict=True) if question is not None)


def _label(jobs: Sequence[Job]) -> str:
    suites = list(dict.fromkeys(job.suite.name for job in jobs))
    who = jobs[0].candidate.name if len(jobs) == 1 else f"{len(jobs)} runs"
    return f"{who} on {', '.join(suites)}"


class _Run:
    """One run under way: what is to be asked, and its journal."""

    def __init__(self, job: Job, store: ExperimentStore, stack: ExitStack) -> None:
        self._job, self._store = job, store
        self._name = run_id(job.candidate.name, job.suite.name, job.suite.split)
        self._started = self._ended = time.monotonic()
        self.plan = _plan(job.suite)
        self.done = {key for key, place in _answered(store, self._name, self.plan).items() if not place.failed}
        self.waited = any(metrics.get(name).needs == "judge" for task in job.suite.tasks for name in task.metrics)
        self.latency, self.machine_s = 0.0, None if self.done else 0.0
        self._asked: set[ItemKey] = set()
        self._journal = stack.enter_context(store.sample_journal(self._name))
        self._batches = self._questions()

    def next(self) -> list[Question] | None:
        """What is owed of the next batch; None when nothing more is to be asked."""
        return next(self._batches, None)

    def _questions(self) -> Iterator[list[Question]]:
        watch = self._job.watch
        for batch in batches(self._job.suite, watch):
            self._asked |= {(task.name, item.id) for task, items in batch for item in items}
            yield list(_owed(self._job, batch, self.plan, self.done))
            if watch is not None and watch.is_decided(list(self._samples())):
                return

    def keep(self, sample: SampleRecord) -> None:
        """Make it durable."""
        self._journal.append([sample])
        self._ended = time.monotonic()
        self.latency += sample.latency_s or 0.0

    def finish(self, engine: Engine) -> RunRecord:
        """Summarise, and write the manifest. Raises EngineError when too many calls failed."""
        job, samples = self._job, self._samples()
        _refuse_faults(self._name, sum(key[:2] in self._asked for key in self.plan), samples)
        seconds = self._ended - self._started
        run = summarise(self._name, job.candidate, job.suite, engine, samples, seconds)
        run = run.model_copy(update={"machine_s": round(self.machine_s, 6) if self.machine_s else None})
        if job.watch is not None:
            asked, of = len(self._asked), job.suite.size
            stopped = EarlyStop(method=job.watch.method, asked=asked, of=of, seed=job.watch.seed)
            run = run.model_copy(update={"stopped": stopped})
        self._journal.close()
        self._store.finish_run(run, samples)
        return run

    def _samples(self) -> JournalSamples:
        """The samples of what was asked, in the suite's order."""
        places = [p for key, p in _answered(self._store, self._name, self.plan).items() if key[:2] in self._asked]
        return self._store.under_way(self._name, places)


def _plan(suite: Suite) -> dict[SampleKey, str]:
    """Every sample that a suite makes, in its order, with the digest of what is asked for it."""
    return {
        (task.name, item.id, repeat): content
        for task in suite.tasks
        for item in task.items
        for content in (item.digest,)
        for repeat in range(task.repeats)
    }


def _owed(job: Job, batch: Batch, plan: Plan, done: Set[SampleKey]) -> Iterator[Question]:
    """What of a batch is not done."""
    who = job.candidate
    for task, items in batch:
        for repeat in range(task.repeats):
            for item in items:
                key = (task.name, item.id, repeat)
                if key not in done:
                    yield Question(task, item, plan[key], who.prompt, who.decoding, job.adapter, repeat)


def _answered(store: ExperimentStore, name: str, plan: Plan) -> dict[SampleKey, Place]:
    """What of the plan is on disk, in its order; answers to other content under the same id are not."""
    on_disk = store.answered(name)
    return {key: place for key, content in plan.items() if (place := on_disk.get((*key, content))) is not None}


def batches(suite: Suite, watch: Watch | None) -> Iterator[Batch]:
    """What to ask, and how much before looking whether it is enough: at most `CHECKS` looks, clusters whole."""
    if watch is None:
        yield [(task, list(task.items)) for task in suite.tasks]
        return
    asked = [(asking_key(watch.seed, task.name, item.id, item.cluster), task, item)
             for task in suite.tasks for item in task.items]  # fmt: skip
    asked.sort(key=lambda entry: entry[0])
    least = max(SMALLEST_BATCH, math.ceil(suite.size / CHECKS))
    batch: list[tuple[tuple[str, str, str], Task, Item]] = []
    for entry in asked:
        if len(batch) >= least and entry[0][0] != batch[-1][0][0]:
            yield _by_task(suite, batch)
            batch = []
        batch.append(entry)
    yield _by_task(suite, batch)


def _by_task(suite: Suite, batch: Sequence[tuple[object, Task, Item]]) -> Batch:
    return [(task, items) for task in suite.tasks if (items := [item for _, of, item in batch if of is task])]


def _refuse_faults(name: str, asked: int, samples: Sequence[SampleRecord]) -> None:
    faults = [sample.error for sample in samples if sample.error]
    missing = asked - len(samples)
    if missing or len(faults) > MAX_FAILED * asked:
        last = f", the last with: {faults[-1]}" if faults else ""
        what = f"{len(faults) + missing} of {asked} calls failed{last}"
        hint = "Repair what failed (see the logs folder of the experiment) and run again: only these are asked again"
        raise EngineError(Problem(name, what, f"At most {MAX_FAILED:.0%} may fail", hint))
