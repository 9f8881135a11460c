"""Evaluation: a candidate's answers to a suite, scored and made durable one by one, then summarised.

Samples already on disk are not asked again, so a killed evaluation goes on where it
stopped. A call that failed is asked once more on the next sitting; a run that ends
with failed calls records them as unscored.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Protocol

import numpy as np
from pydantic import Field, field_validator

from harness import metrics
from harness.asking import asking_key
from harness.chat import chat
from harness.data import Split
from harness.engines.base import Answer, Engine, Request
from harness.errors import EngineError, HarnessError, Problem
from harness.partspec import PartSpec
from harness.progress import Progress
from harness.records import (
    Candidate,
    Decoding,
    EarlyStop,
    Item,
    MetricSummary,
    Prompt,
    RunRecord,
    SampleRecord,
    SplitName,
)
from harness.stats import mean_interval
from harness.store import ExperimentStore, samples_digest
from harness.suites import Suite, Task

TASK_SUITE = "task"
"""Name of the suite made from the experiment's own data."""
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


class TaskSpec(PartSpec):
    """What the task is: how an answer is scored and what the model is told."""

    metric: str
    """Primary metric; `harness doctor` lists the names."""
    metrics: tuple[str, ...] = ()
    """Further metrics to report; they decide nothing unless a gate names them."""
    instruction: str | None = None
    """The raw prompt (system message); default: the one that all rows carry, else none."""
    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 64
    """Upper limit of new tokens for an answer; must hold the longest gold answer."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer."""

    @field_validator("metric")
    @classmethod
    def _known(cls, name: str) -> str:
        return _generative(name)

    @field_validator("metrics")
    @classmethod
    def _all_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_generative(name) for name in names)

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if "" in texts:
            raise ValueError("an empty text would end every answer before it begins")
        return texts

    @property
    def decoding(self) -> Decoding:
        """Greedy, within the limits."""
        return Decoding(max_tokens=self.max_tokens, stop=self.stop)


def _generative(name: str) -> str:
    try:
        found = metrics.get(name)
    except HarnessError as fault:
        raise ValueError(str(fault)) from fault
    if found.output != "generate":
        raise ValueError(f"metric {name!r} scores multiple-choice tasks; the task's answers are generated text")
    return name


def task_suite(split: Split, spec: TaskSpec) -> Suite:
    """The experiment's own task over one split, as a suite like any other."""
    return Suite(TASK_SUITE, "task", split.name, (_task(split.items, spec),))


def items_suite(name: str, items: Sequence[Item], spec: TaskSpec) -> Suite:
    """Further items asked and scored as the task is, e.g. those that must not break."""
    return Suite(name, "regression", "test", (_task(tuple(items), spec),))


def _task(items: tuple[Item, ...], spec: TaskSpec) -> Task:
    names = (spec.metric, *(name for name in spec.metrics if name != spec.metric))
    return Task(TASK_SUITE, "generate", items, names, spec.decoding)


def run_id(candidate: str, suite: str, split: SplitName) -> str:
    """Folder name of a run."""
    return f"{candidate}--{suite}--{split}"


# ------------------------------------------------------------------------- asking


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
) -> Iterator[SampleRecord]:
    """Ask all items and score each answer as it comes, in any order."""
    requests = [_request(item, task, prompt, decoding) for item in items]
    for index, answer in engine.answer(requests, adapter):
        yield _sample(task, items[index], answer)


def _sample(task: Task, item: Item, answer: Answer) -> SampleRecord:
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


# --------------------------------------------------------------------- evaluating


def evaluate(
    candidate: Candidate,
    suite: Suite,
    engine: Engine,
    store: ExperimentStore,
    progress: Progress,
    adapter: str | None = None,
    watch: Watch | None = None,
) -> RunRecord:
    """One candidate on one suite: asks what is still owed, then writes the run's manifest.

    An item is done when this very content was answered; lines about anything else are left
    out. With a `watch`, items are asked in a random order fixed by its seed, batch by batch, and no
    more once it is decided; a killed run goes on in the same order to the same end.
    Raises EngineError when more than `MAX_FAILED` of the calls failed: that is a fault
    to repair, not a score, and the failed ones alone are asked again.
    """
    name = run_id(candidate.name, suite.name, suite.split)
    done = {key for key, sample in _answered(store, name, suite).items() if sample.error is None}
    bar = progress.bar(f"{candidate.name} on {suite.name}", suite.size, len(done))
    started = time.monotonic()
    asked: dict[tuple[str, str], Item] = {}
    with store.sample_journal(name) as journal, bar as shown:
        for batch in _batches(suite, watch):
            for task, items in batch:
                asked |= {(task.name, item.id): item for item in items}
                owed = [item for item in items if (task.name, item.id) not in done]
                for sample in ask(engine, task, owed, candidate.prompt, candidate.decoding, adapter):
                    journal.append([sample])
                    shown.advance()
            if watch is not None and watch.is_decided(
                [s for k, s in _answered(store, name, suite).items() if k in asked]
            ):
                break
    samples = [sample for key, sample in _answered(store, name, suite).items() if key in asked]
    _refuse_faults(name, len(asked), samples)
    run = summarise(name, candidate, suite, engine, samples, time.monotonic() - started)
    if watch is not None:
        stopped = EarlyStop(method=watch.method, asked=len(asked), of=suite.size, seed=watch.seed)
        run = run.model_copy(update={"stopped": stopped})
    store.finish_run(run, samples)
    return run


Batch = list[tuple[Task, list[Item]]]


def _batches(suite: Suite, watch: Watch | None) -> Iterator[Batch]:
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


def _answered(store: ExperimentStore, name: str, suite: Suite) -> dict[tuple[str, str], SampleRecord]:
    """What is on disk of this suite's items, by task and id, in the suite's order."""
    on_disk = {(s.task, s.id, s.item_digest): s for s in store.samples(name)}
    wanted = [(task.name, item.id, item.digest) for task in suite.tasks for item in task.items]
    return {key[:2]: on_disk[key] for key in wanted if key in on_disk}


def _refuse_faults(name: str, asked: int, samples: Sequence[SampleRecord]) -> None:
    faults = [sample for sample in samples if sample.error]
    missing = asked - len(samples)
    if missing or len(faults) > MAX_FAILED * asked:
        last = f", the last with: {faults[-1].error}" if faults else ""
        what = f"{len(faults) + missing} of {asked} calls failed{last}"
        hint = "Repair what failed (see the logs folder of the experiment) and run again: only these are asked again"
        raise EngineError(Problem(name, what, f"At most {MAX_FAILED:.0%} may fail", hint))


def summarise(
    name: str, candidate: Candidate, suite: Suite, engine: Engine, samples: Sequence[SampleRecord], seconds: float
) -> RunRecord:
    """Samples to the run's manifest."""
    primary = {task.name: task.metrics[0] for task in suite.tasks}
    latencies = [s.latency_s for s in samples if s.latency_s is not None]
    tokens_in = [s.tokens_in for s in samples if s.tokens_in is not None]
    tokens_out = [s.tokens_out for s in samples if s.tokens_out is not None]
    summaries = [
        _summary([s for s in samples if s.task == task.name], task.name, metric)
        for task in suite.tasks
        for metric in task.metrics
    ]
    overall = _summary(samples, "*", "primary", primary)
    return RunRecord(
        id=name,
        candidate=candidate,
        candidate_digest=candidate.digest,
        suite=suite.name,
        role=suite.role,
        split=suite.split,
        fingerprint=suite.fingerprint,
        conditions=engine.conditions,
        primary=primary,
        metrics=(*summaries, overall),
        n=len(samples),
        unscored=overall.unscored,
        tokens_in=sum(tokens_in) if tokens_in else None,
        tokens_out=sum(tokens_out) if tokens_out else None,
        seconds=round(seconds, 3),
        latency_p50_s=float(np.percentile(latencies, 50)) if latencies else None,
        latency_p95_s=float(np.percentile(latencies, 95)) if latencies else None,
        samples_digest=samples_digest(samples),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _summary(
    samples: Sequence[SampleRecord], task: str, metric: str, primary: dict[str, str] | None = None
) -> MetricSummary:
    """Mean of one metric; for `primary` each sample's own task says which."""
    scored = []
    clusters = []
    for sample in samples:
        score = sample.scores.get(primary[sample.task] if primary else metric)
        if score is not None and math.isfinite(score):
            scored.append(score)
            clusters.append(f"{sample.task}/{sample.cluster or sample.id}")
    clustered = len(set(clusters)) < len(clusters)
    estimate = mean_interval(scored, clusters if clustered else None)
    return MetricSummary(task=task, metric=metric, estimate=estimate, unscored=len(samples) - len(scored))
