"""What a metric's name stands for: how it is read off samples, summed up, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.compare.estimators import Estimator, Mean, Quantile, Statistic
from harness.compare.measures import MEASURES, Prices, reader
from harness.compare.samples import Samples, Sheet
from harness.compare.selecting import Selection
from harness.metrics import CORPUS_METRICS, CorpusValue
from harness.metrics import higher_is_better as score_is_better
from harness.records import SampleRecord

Floats = NDArray[np.float64]


Read = Callable[[Samples], Floats]
"""Samples to their values, shape (m,) or (m, p); not finite where unscored."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """How the values of items become one number, and which way is better."""

    estimator: Estimator
    higher_is_better: bool
    of_scores: bool
    """Whether it is a mean of scores per sample, which may lie in [0, 1]; not so for measures."""


def item_values(read: Read, sheet: Sheet, selection: Selection) -> Floats:
    """Values of a run's items, (n,) or (n, p): repeats averaged, NaN as soon as one of them is unscored."""
    values = read([sheet.by_key[at] for at in selection.keys])
    values[~np.isfinite(values)] = math.nan
    if selection.repeats == 1:
        return values
    if len(values) == selection.repeats * len(selection.items):
        return averaged(np.swapaxes(values.reshape(-1, selection.repeats, *values.shape[1:]), 0, 1))
    ends = [*selection.starts[1:].tolist(), len(values)]
    return np.stack([averaged(values[start:end]) for start, end in zip(selection.starts, ends, strict=True)])


def repeat_noise(read: Read, sheet: Sheet, selection: Selection) -> Floats:
    """Variance of each item's average that comes from its repeats, (n,): 0 for one answer, NaN where unscored."""
    values = read([sheet.by_key[at] for at in selection.keys])
    ends = [*selection.starts[1:].tolist(), len(values)]
    repeats = (values[start:end] for start, end in zip(selection.starts, ends, strict=True))
    return np.array([float(own.var(ddof=1)) / len(own) if len(own) > 1 else 0.0 for own in repeats])


def averaged(values: Floats) -> Floats:
    """Mean over the first axis: of equal values just that value, and the same in any order.

    So what is tied stays tied. Rounding noise would look like many tiny differences, and those narrow an interval.
    """
    if len(values) == 1:
        return np.asarray(values[0])
    ordered = np.sort(values, axis=0)
    return np.asarray(ordered[0] + (ordered - ordered[0]).mean(axis=0))


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better; False for the measures."""
    return metric not in MEASURES and score_is_better(metric)


def yardstick(
    metrics: Mapping[str, str], prices: Prices | None, targets: Callable[[], list[str]]
) -> tuple[Yardstick, Read]:
    """The yardstick for a metric on each task, as `selecting.metrics_by_task` gives it, and how to read samples.

    targets: the gold answers of all items that enter; asked for by corpus metrics alone.
    Raises UsageError for a measure without the prices that it needs, or a missing package.
    """
    name = next(iter(metrics.values()), "")
    if name in MEASURES:
        q = MEASURES[name].quantile
        return Yardstick(Mean(scores=False) if q is None else Quantile(q), False, False), _column(reader(name, prices))
    if name in CORPUS_METRICS:
        found = CORPUS_METRICS[name]
        corpus = found.over(targets())
        return Yardstick(Statistic(corpus, found.limits), True, False), lambda samples: _rows(samples, corpus)
    better = all(higher_is_better(metric) for metric in metrics.values())
    return Yardstick(Mean(), better, True), _column(lambda sample: sample.scores.get(metrics[sample.task]))


def _column(read: Callable[[SampleRecord], float | None]) -> Read:
    """Values one a sample; numpy reads None as NaN."""
    return lambda samples: np.array([read(sample) for sample in samples], dtype=np.float64)


def _rows(samples: Samples, corpus: CorpusValue) -> Floats:
    """Rows of statistics; NaN for a sample without an answer."""
    rows = np.full((len(samples), len(corpus.row("", samples[0].target)) if samples else 1), math.nan)
    for row, sample in zip(rows, samples, strict=True):
        if sample.answer is not None and sample.error is None:
            row[:] = corpus.row(sample.answer, sample.target)
    return rows
