"""Two runs joined sample by sample, and the difference with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.compare.likeness import likeness_problems
from harness.compare.samples import ItemKey, Samples, Scored, score
from harness.errors import NotComparableError, Problem, UsageError, did_you_mean
from harness.records import ComparisonRecord, RunRecord
from harness.stats import paired_interval

ALL = "*"
PRIMARY = "primary"


def compare(
    candidate: RunRecord,
    candidate_samples: Samples,
    reference: RunRecord,
    reference_samples: Samples,
    *,
    task: str = ALL,
    metric: str = PRIMARY,
    confidence: float = 0.95,
) -> ComparisonRecord:
    """Mean paired difference of two runs, candidate minus reference, in the metric's own unit.

    task: one task, or `*` for all items of the suite, each item counting once.
    metric: a name, or `primary` for each task's own first metric.

    Samples are joined on (task, id, repeat). Repeats of an item are averaged before anything
    else. Items that share a cluster label stay together, also across tasks: joining
    clusters costs power, splitting one would make the interval a lie. An item is left out and
    counted in `unscored` when any of its samples, on either side, has no finite score.

    Raises NotComparableError (naming each field and both values) for another suite, split,
    fingerprint, choice of primary metrics, any of the conditions or the decoding (see
    `likeness`), for other texts under one id, for samples missing or given twice and for
    a metric that one of them did not measure;
    UsageError for an unknown task or metric.
    """
    return compare_seeds(
        [(candidate, candidate_samples)], reference, reference_samples, task=task, metric=metric, confidence=confidence
    )


def compare_seeds(
    candidates: Sequence[Scored],
    reference: RunRecord,
    reference_samples: Samples,
    *,
    task: str = ALL,
    metric: str = PRIMARY,
    confidence: float = 0.95,
) -> ComparisonRecord:
    """The average of several training seeds against one reference; otherwise as `compare`.

    Each item's score is the mean over the seeds; the interval is over items only. It speaks
    of these very trainings (claim: artifact, averaged), not of the next seed: training seeds
    are not a random factor here, so spread between seeds does not widen it. An item is
    unscored when any seed has no score for it. Raises as `compare`, for each seed.
    """
    if not candidates:
        raise UsageError("compare: no candidate runs were given. Pass at least one.")
    problems = [p for run, samples in candidates for p in likeness_problems(run, samples, reference, reference_samples)]
    if problems:
        raise NotComparableError(problems)
    metrics = _metrics([*candidates, (reference, reference_samples)], task, metric)
    left = [_item_scores(samples, metrics) for _, samples in candidates]
    right = _item_scores(reference_samples, metrics)
    keys = sorted(right)
    scored = [k for k in keys if right[k] is not None and all(side[k] is not None for side in left)]
    a = [math.fsum(side[k] or 0.0 for side in left) / len(left) for k in scored]
    b = [right[k] or 0.0 for k in scored]
    cluster_of = {(s.task, s.id): s.cluster for s in reference_samples}
    clusters = [cluster_of[k] if cluster_of[k] is not None else k for k in scored]
    return ComparisonRecord(
        suite=reference.suite,
        task=task,
        metric=metric,
        candidate="+".join(run.id for run, _ in candidates),
        reference=reference.id,
        candidate_mean=_mean(a),
        reference_mean=_mean(b),
        difference=paired_interval(a, b, clusters, confidence),
        won=sum(x > y for x, y in zip(a, b, strict=True)),
        lost=sum(x < y for x, y in zip(a, b, strict=True)),
        tied=sum(x == y for x, y in zip(a, b, strict=True)),
        unscored=len(keys) - len(scored),
    )


def _metrics(sides: Sequence[Scored], task: str, metric: str) -> dict[str, str]:
    """Task name to the metric to compare on.

    Raises UsageError for names that nobody knows, NotComparableError for a metric that one run did not measure.
    """
    run = sides[-1][0]
    known: dict[str, set[str]] = {name: {first} for name, first in run.primary.items()}
    for _, samples in sides:
        for sample in samples:
            known.setdefault(sample.task, set()).update(sample.scores)
    if task != ALL and task not in known:
        hint = did_you_mean(task, [ALL, *known])
        raise UsageError(Problem(f"suite {run.suite}", f"unknown task {task!r}", hint))
    chosen = sorted(known) if task == ALL else [task]
    wanted = {name: run.primary.get(name, PRIMARY) if metric == PRIMARY else metric for name in chosen}
    problems = [
        Problem(f"suite {run.suite}: task {name}", f"unknown metric {wanted[name]!r}",
                did_you_mean(wanted[name], [PRIMARY, *known[name]]))
        for name in chosen
        if wanted[name] not in known[name]
    ]  # fmt: skip
    if problems:
        raise UsageError(problems)
    unmeasured = [
        Problem(
            side.id, f"{wanted[name]!r} was not measured on task {name}", next="Add it to its metrics and run it again"
        )
        for side, samples in sides
        for name in chosen
        if wanted[name] != side.primary.get(name) and not _measures(samples, name, wanted[name])
    ]
    if unmeasured:
        raise NotComparableError(unmeasured)
    return wanted


def _measures(samples: Samples, task: str, metric: str) -> bool:
    return any(metric in sample.scores for sample in samples if sample.task == task)


def _item_scores(samples: Samples, metrics: Mapping[str, str]) -> dict[ItemKey, float | None]:
    """Mean score of each item over its repeats; None as soon as one repeat has no score."""
    by_item: dict[ItemKey, list[float | None]] = {}
    for sample in samples:
        if sample.task in metrics:
            by_item.setdefault((sample.task, sample.id), []).append(score(sample, metrics[sample.task]))
    return {
        key: None if None in scores else math.fsum(s for s in scores if s is not None) / len(scores)
        for key, scores in by_item.items()
    }


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
