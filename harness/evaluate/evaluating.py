"""A candidate's answers to a suite, made durable one by one, as many as are wanted."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Protocol

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
    """One candidate on one suite: asks what is still owed, then writes the run's manifest.

    adapter: the name under which the engine serves the candidate's adapter. library: where a prompt with retrieval
    looks things up. An item is done when this very content was answered; lines about anything else are left
    out. With a `watch`, items are asked in a random order fixed by its seed, batch by batch, and no
    more once it is decided; a killed run goes on in the same order to the same end.
    Raises EngineError when more than `MAX_FAILED` of the calls failed: that is a fault
    to repair, not a score, and the failed ones alone are asked again.
    """
    name = run_id(candidate.name, suite.name, suite.split)
    started = time.monotonic()
    plan = _plan(suite)
    done = {key for key, place in _answered(store, name, plan).items() if not place.failed}
    asked: set[ItemKey] = set()
    with store.sample_journal(name) as journal, progress.bar(_label(candidate, suite), len(plan), len(done)) as shown:
        for batch in batches(suite, watch):
            asked |= {(task.name, item.id) for task, items in batch for item in items}
            owed = list(_owed(batch, plan, done))
            for sample in ask_all(engine, owed, candidate.prompt, candidate.decoding, adapter, library):
                journal.append([sample])
                shown.advance()
            if watch is not None and watch.is_decided(list(_of(asked, store, name, plan))):
                break
    samples = _of(asked, store, name, plan)
    wanted = sum(key[:2] in asked for key in plan)
    _refuse_faults(name, wanted, samples)
    run = summarise(name, candidate, suite, engine, samples, time.monotonic() - started)
    if watch is not None:
        stopped = EarlyStop(method=watch.method, asked=len(asked), of=suite.size, seed=watch.seed)
        run = run.model_copy(update={"stopped": stopped})
    store.finish_run(run, samples)
    return run


def _label(candidate: Candidate, suite: Suite) -> str:
    return f"{candidate.name} on {suite.name}"


def _plan(suite: Suite) -> dict[SampleKey, str]:
    """Every sample that a suite makes, in its order, with the digest of what is asked for it."""
    return {
        (task.name, item.id, repeat): content
        for task in suite.tasks
        for item in task.items
        for content in (item.digest,)
        for repeat in range(task.repeats)
    }


def _owed(batch: Batch, plan: Plan, done: Set[SampleKey]) -> Iterator[Question]:
    """What of a batch is not done, each repeat with a sampling seed of its own."""
    for task, items in batch:
        for repeat in range(task.repeats):
            for item in items:
                key = (task.name, item.id, repeat)
                if key not in done:
                    yield Question(task, item, plan[key], repeat)


def _answered(store: ExperimentStore, name: str, plan: Plan) -> dict[SampleKey, Place]:
    """What of the plan is on disk, in its order; answers to other content under the same id are not."""
    on_disk = store.answered(name)
    return {key: place for key, content in plan.items() if (place := on_disk.get((*key, content))) is not None}


def _of(asked: Set[ItemKey], store: ExperimentStore, name: str, plan: Plan) -> JournalSamples:
    """The samples of what was asked, in the suite's order."""
    places = [place for key, place in _answered(store, name, plan).items() if key[:2] in asked]
    return store.under_way(name, places)


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
