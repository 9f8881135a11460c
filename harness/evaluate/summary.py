"""Samples to the manifest of a run: each metric with its interval, tokens, latency."""

from __future__ import annotations

import datetime
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.engines.base import Engine
from harness.metrics import CHOICE_CORPUS_METRICS, CORPUS_METRICS, ChoiceCorpusValue, CorpusValue, pass_at_k
from harness.metrics import get as get_metric
from harness.records import Candidate, Interval, MetricSummary, RunRecord, SampleRecord
from harness.stats import mean_interval, statistic_interval
from harness.store import samples_digest
from harness.suites import Suite, Task

PASSES = (2, 5, 10, 20, 50, 100)
"""The k of pass@k that are reported where code was asked for so many times."""

Corpus = CorpusValue | ChoiceCorpusValue


@dataclass(frozen=True, slots=True)
class _Line:
    """What a summary needs of one sample: without its texts, a long run's lines take little memory."""

    task: str
    id: str
    cluster: str | None
    scores: Mapping[str, float | None]
    rows: Mapping[str, list[float] | None]
    """Corpus metric to the sample's statistics; None without an answer."""


def summarise(
    name: str, candidate: Candidate, suite: Suite, engine: Engine, samples: Sequence[SampleRecord], seconds: float
) -> RunRecord:
    """Samples to the run's manifest. `samples` is gone through a few times, a record at a time."""
    primary = {task.name: task.metrics[0] for task in suite.tasks}
    latencies, tokens_in, tokens_out = array("d"), array("q"), array("q")
    lines, corpora, rights = list[_Line](), _corpora(suite, samples), _rights(suite)
    for sample in samples:
        if sample.latency_s is not None:
            latencies.append(sample.latency_s)
        if sample.tokens_in is not None:
            tokens_in.append(sample.tokens_in)
        if sample.tokens_out is not None:
            tokens_out.append(sample.tokens_out)
        lines.append(_line(sample, corpora.get(sample.task, {}), rights.get((sample.task, sample.id))))
    summaries = [
        _summary([line for line in lines if line.task == task.name], task.name, metric)
        for task in suite.tasks
        for metric in task.metrics
    ]
    summaries += [
        _corpus_summary(
            [line for line in lines if line.task == task.name], task.name, metric, corpora[task.name][metric]
        )
        for task in suite.tasks
        for metric in task.corpus_metrics
    ]
    summaries += [summary for task in suite.tasks for summary in _passes(lines, task)]
    overall = _summary(lines, "*", "primary", primary)
    items = len({(line.task, line.id) for line in lines})
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
        tokens_in=_total(tokens_in, items, len(lines)),
        tokens_out=_total(tokens_out, items, len(lines)),
        seconds=round(seconds, 3),
        tokens_in_se=_standard_error(tokens_in),
        tokens_out_se=_standard_error(tokens_out),
        latency_p50_s=float(np.percentile(latencies, 50)) if latencies else None,
        latency_p95_s=float(np.percentile(latencies, 95)) if latencies else None,
        samples_digest=samples_digest(samples),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _standard_error(values: array[int]) -> float | None:
    """Of their mean; None for fewer than two."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def _corpora(suite: Suite, samples: Sequence[SampleRecord]) -> dict[str, dict[str, Corpus]]:
    """Every task's corpus metrics, made for the gold answers that it was asked."""
    wanted = {task.name: task.corpus_metrics for task in suite.tasks if task.corpus_metrics}
    targets: dict[str, list[str]] = {name: [] for name in wanted}
    if wanted:
        for sample in samples:
            if sample.task in targets:
                targets[sample.task].append(sample.target)

    def made(metric: str, task: str) -> Corpus:
        if metric in CHOICE_CORPUS_METRICS:
            return CHOICE_CORPUS_METRICS[metric].over()
        return CORPUS_METRICS[metric].over(targets[task])

    return {name: {metric: made(metric, name) for metric in names} for name, names in wanted.items()}


def _rights(suite: Suite) -> dict[tuple[str, str], tuple[int, str]]:
    """Index and bare text of the right choice, of items whose log-likelihoods a corpus metric is computed over."""
    return {
        (task.name, item.id): (item.choices.index(item.target), item.target.removeprefix(task.target_delimiter))
        for task in suite.tasks
        if not CHOICE_CORPUS_METRICS.keys().isdisjoint(task.corpus_metrics)
        for item in task.items
        if item.choices is not None
    }


def _line(sample: SampleRecord, corpora: Mapping[str, Corpus], right: tuple[int, str] | None) -> _Line:
    rows = {name: _row(sample, name, corpus, right) for name, corpus in corpora.items()}
    return _Line(sample.task, sample.id, sample.cluster, sample.scores, rows)


def _row(sample: SampleRecord, name: str, corpus: Any, right: tuple[int, str] | None) -> list[float] | None:
    """The sample's statistics; None without an answer, or without the log-likelihoods."""
    if sample.answer is None or sample.error is not None:
        return None
    if name not in CHOICE_CORPUS_METRICS:
        return [float(value) for value in corpus.row(sample.answer, sample.target)]
    if sample.logprobs is None or right is None:
        return None
    return [float(value) for value in corpus.row(sample.logprobs, *right)]


def _passes(lines: Sequence[_Line], task: Task) -> list[MetricSummary]:
    """pass@k of the metrics that run code, for each k that the repeats allow; the mean over items of the estimator."""
    summaries = []
    for metric in task.metrics:
        if task.repeats == 1 or get_metric(metric).needs != "code":
            continue
        tried: dict[str, list[_Line]] = {}
        for line in lines:
            if line.task == task.name:
                tried.setdefault(line.id, []).append(line)
        whole = [own for own in tried.values() if all(line.scores[metric] is not None for line in own)]
        for k in (k for k in PASSES if k <= task.repeats):
            passed = [pass_at_k(len(own), sum(line.scores[metric] == 1 for line in own), k) for own in whole]
            estimate = mean_interval(passed, _clusters([own[0] for own in whole]))
            unscored = len(tried) - len(whole)
            summaries.append(MetricSummary(task=task.name, metric=f"pass@{k}", estimate=estimate, unscored=unscored))
    return summaries


def _summary(lines: Sequence[_Line], task: str, metric: str, primary: dict[str, str] | None = None) -> MetricSummary:
    """Mean of one metric over items; for `primary` each sample's own task says which."""

    def read(line: _Line) -> list[float] | None:
        value = line.scores.get(primary[line.task] if primary else metric)
        return [value] if value is not None and math.isfinite(value) else None

    firsts, values, unscored = _of_items(lines, read)
    estimate = mean_interval([value[0] for value in values], _clusters(firsts))
    return MetricSummary(task=task, metric=metric, estimate=estimate, unscored=unscored)


def _corpus_summary(lines: Sequence[_Line], task: str, metric: str, corpus: Corpus) -> MetricSummary:
    """A metric of all answers together."""
    firsts, rows, unscored = _of_items(lines, lambda line: line.rows[metric])
    limits = {**CORPUS_METRICS, **CHOICE_CORPUS_METRICS}[metric].limits  # type: ignore[attr-defined]
    estimate = (
        statistic_interval(np.array(rows), corpus.value, _clusters(firsts), limits=limits)
        if rows
        else Interval(value=None, low=None, high=None, confidence=0.95, n=0, method="none")
    )
    return MetricSummary(task=task, metric=metric, estimate=estimate, unscored=unscored)


def _total(tokens: Sequence[int], items: int, answers: int) -> int | None:
    """Tokens over all items; of repeats, their mean."""
    return round(sum(tokens) * items / answers) if tokens else None


def _of_items(
    lines: Sequence[_Line], read: Callable[[_Line], list[float] | None]
) -> tuple[list[_Line], list[list[float]], int]:
    """First sample and values of each scored item, repeats averaged, and how many items have no score.

    An item has none as soon as one of its repeats has none, as in a comparison.
    """
    by_item: dict[tuple[str, str], list[_Line]] = {}
    for line in lines:
        by_item.setdefault((line.task, line.id), []).append(line)
    firsts, values = [], []
    for repeats in by_item.values():
        found = [value for value in map(read, repeats) if value is not None]
        if len(found) == len(repeats):
            firsts.append(repeats[0])
            values.append([math.fsum(column) / len(found) for column in zip(*found, strict=True)])
    return firsts, values, len(by_item) - len(values)


def _clusters(lines: Sequence[_Line]) -> list[str] | None:
    """Labels of what is not independent. Items with one label belong together across tasks too, as in a comparison."""
    if all(line.cluster is None for line in lines):
        return None
    return [f"cluster {s.cluster}" if s.cluster is not None else f"item {s.task}/{s.id}" for s in lines]
