"""Samples to the manifest of a run: each metric with its interval, tokens, latency."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence

import numpy as np

from harness.engines.base import Engine
from harness.metrics import CORPUS_METRICS
from harness.records import Candidate, Interval, MetricSummary, RunRecord, SampleRecord
from harness.stats import mean_interval, statistic_interval
from harness.store import samples_digest
from harness.suites import Suite


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
    summaries += [
        _corpus_summary([s for s in samples if s.task == task.name], task.name, metric)
        for task in suite.tasks
        for metric in task.corpus_metrics
    ]
    overall = _summary(samples, "*", "primary", primary)
    items = len({(sample.task, sample.id) for sample in samples})
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
        n=items,
        unscored=overall.unscored,
        tokens_in=_total(tokens_in, items, len(samples)),
        tokens_out=_total(tokens_out, items, len(samples)),
        seconds=round(seconds, 3),
        latency_p50_s=float(np.percentile(latencies, 50)) if latencies else None,
        latency_p95_s=float(np.percentile(latencies, 95)) if latencies else None,
        samples_digest=samples_digest(samples),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _summary(
    samples: Sequence[SampleRecord], task: str, metric: str, primary: dict[str, str] | None = None
) -> MetricSummary:
    """Mean of one metric over items; for `primary` each sample's own task says which."""

    def read(sample: SampleRecord) -> list[float] | None:
        value = sample.scores.get(primary[sample.task] if primary else metric)
        return [value] if value is not None and math.isfinite(value) else None

    firsts, values, unscored = _of_items(samples, read)
    estimate = mean_interval([value[0] for value in values], _clusters(firsts))
    return MetricSummary(task=task, metric=metric, estimate=estimate, unscored=unscored)


def _corpus_summary(samples: Sequence[SampleRecord], task: str, metric: str) -> MetricSummary:
    """A metric of all answers together."""
    found = CORPUS_METRICS[metric]
    corpus = found.over([sample.target for sample in samples])

    def read(sample: SampleRecord) -> list[float] | None:
        missing = sample.answer is None or sample.error is not None
        return None if missing else corpus.row(str(sample.answer), sample.target).tolist()

    firsts, rows, unscored = _of_items(samples, read)
    estimate = (
        statistic_interval(np.array(rows), corpus.value, _clusters(firsts), limits=found.limits)
        if rows
        else Interval(value=None, low=None, high=None, confidence=0.95, n=0, method="none")
    )
    return MetricSummary(task=task, metric=metric, estimate=estimate, unscored=unscored)


def _total(tokens: Sequence[int], items: int, answers: int) -> int | None:
    """Tokens over all items; of repeats, their mean."""
    return round(sum(tokens) * items / answers) if tokens else None


def _of_items(
    samples: Sequence[SampleRecord], read: Callable[[SampleRecord], list[float] | None]
) -> tuple[list[SampleRecord], list[list[float]], int]:
    """First sample and values of each scored item, repeats averaged, and how many items have no score.

    An item has none as soon as one of its repeats has none, as in a comparison.
    """
    by_item: dict[tuple[str, str], list[SampleRecord]] = {}
    for sample in samples:
        by_item.setdefault((sample.task, sample.id), []).append(sample)
    firsts, values = [], []
    for repeats in by_item.values():
        found = [value for value in map(read, repeats) if value is not None]
        if len(found) == len(repeats):
            firsts.append(repeats[0])
            values.append([math.fsum(column) / len(found) for column in zip(*found, strict=True)])
    return firsts, values, len(by_item) - len(values)


def _clusters(samples: Sequence[SampleRecord]) -> list[str] | None:
    """Labels of what is not independent. Items with one label belong together across tasks too, as in a comparison."""
    if all(sample.cluster is None for sample in samples):
        return None
    return [f"cluster {s.cluster}" if s.cluster is not None else f"item {s.task}/{s.id}" for s in samples]
