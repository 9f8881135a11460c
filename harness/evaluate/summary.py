"""Samples to the manifest of a run: each metric with its interval, tokens, latency."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

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
    values = [sample.scores.get(primary[sample.task] if primary else metric) for sample in samples]
    scored = [
        (s, value) for s, value in zip(samples, values, strict=True) if value is not None and math.isfinite(value)
    ]
    estimate = mean_interval([value for _, value in scored], _clusters([sample for sample, _ in scored]))
    return MetricSummary(task=task, metric=metric, estimate=estimate, unscored=len(samples) - len(scored))


def _corpus_summary(samples: Sequence[SampleRecord], task: str, metric: str) -> MetricSummary:
    """A metric of all answers together."""
    scored = [sample for sample in samples if sample.answer is not None and sample.error is None]
    found = CORPUS_METRICS[metric]
    corpus = found.over([sample.target for sample in scored])
    rows = [corpus.row(sample.answer or "", sample.target) for sample in scored]
    estimate = (
        statistic_interval(np.array(rows), corpus.value, _clusters(scored), limits=found.limits)
        if rows
        else Interval(value=None, low=None, high=None, confidence=0.95, n=0, method="none")
    )
    return MetricSummary(task=task, metric=metric, estimate=estimate, unscored=len(samples) - len(scored))


def _clusters(samples: Sequence[SampleRecord]) -> list[str] | None:
    """Labels of what is not independent. Items with one label belong together across tasks too, as in a comparison."""
    if all(sample.cluster is None for sample in samples):
        return None
    return [f"cluster {s.cluster}" if s.cluster is not None else f"item {s.task}/{s.id}" for s in samples]
