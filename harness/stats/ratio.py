"""Metrics that are no mean over items: corpus BLEU, macro-F1, perplexity, anything made of sums over items."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.records import Interval
from harness.stats.bootstrap import BCA_MAX_UNITS, NUMBERS_AT_ONCE
from harness.stats.intervals import check_factor, cluster_codes
from harness.stats.robust import Codes, Evidence, Floats, joined_interval, make_interval

Value = Callable[[Floats], Floats]
"""The metric: summed statistics, shape (..., p), to values, shape (...)."""
Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Metric:
    """One run's rows, what the metric makes of them and what each item does to it."""

    rows: Floats
    value: Value
    estimate: float
    influences: Floats
    """Shape (n,): jackknife pseudo-values, moved so that their mean is the estimate."""

    @property
    def defined(self) -> bool:
        return bool(np.isfinite(self.influences).all())


def statistic_interval(
    rows: ArrayLike, value: Value, clusters: Sequence[Hashable] | None = None, confidence: float = 0.95, *,
    limits: Limits | None = None,
) -> Interval:  # fmt: skip
    """A metric of one run: value(sum of rows), with its interval.

    rows: shape (n, p), finite, sufficient statistics of each item that may be added up. value: maps sums,
    shape (..., p), to the metric, shape (...). clusters: as for `mean_interval`. limits: where the
    metric lies, e.g. (0, 1); an end may be infinite; None when unknown.

    The union of two intervals, as in `paired_interval`: Student's t on jackknife pseudo-values (Efron
    and Tibshirani, 1993, An Introduction to the Bootstrap, section 11.5), with CR2 over clusters and the
    variance floor; and the BCa bootstrap (by scipy) of the metric itself over independent units, over
    1000 random blocks of them when there are more. The floor's full deviation is the width of the
    limits, or the range of the pseudo-values where they are infinite.

    n = 0 gives None throughout. No ends where every item does the same and the limits tell no width
    (`constant`), and where leaving out one item leaves the metric undefined (`undefined`).
    Raises ValueError for rows of another shape or not finite, and as `mean_interval` does.
    """
    table = _rows(rows, "rows")
    codes = cluster_codes(clusters, len(table), confidence)
    if not len(table):
        return make_interval(None, None, None, confidence, 0, "none")
    metric = _metric(table, value)
    if not metric.defined:
        return _undefined(metric.estimate, confidence, len(table))
    x = metric.influences
    evidence = Evidence(x, x - np.median(x), _width(limits, x), limits, codes)
    units = _unit_rows(table, evidence)
    return joined_interval(evidence, confidence, lambda counts: value(counts @ units))


def paired_statistic_interval(
    candidate_rows: ArrayLike, reference_rows: ArrayLike, value: Value,
    clusters: Sequence[Hashable] | None = None, confidence: float = 0.95, *,
    factor: float = 1.0, limits: Limits | None = None, higher_is_better: bool = True,
) -> Interval:  # fmt: skip
    """Metric of the candidate minus factor times that of the reference, over the same items.

    candidate_rows, reference_rows: shape (n, p), item i of one belongs to item i of the other; value,
    clusters and limits as for `statistic_interval`. With higher_is_better false the difference is
    factor * reference - candidate, so that it always says how much better the candidate is.

    Method as for `statistic_interval`, with both runs resampled together (paired bootstrap of the metric;
    Koehn, 2004, EMNLP, section 3). The variance floor is made of candidate - reference, whatever the factor.
    Raises ValueError as `statistic_interval` does, for unequal shapes, and for a factor that is not positive.
    """
    a_rows, b_rows = _rows(candidate_rows, "candidate_rows"), _rows(reference_rows, "reference_rows")
    if a_rows.shape != b_rows.shape:
        raise ValueError(f"candidate_rows have shape {a_rows.shape}, reference_rows {b_rows.shape}; wanted pairs")
    check_factor(factor)
    codes = cluster_codes(clusters, len(a_rows), confidence)
    if not len(a_rows):
        return make_interval(None, None, None, confidence, 0, "none")
    a, b, sign = _metric(a_rows, value), _metric(b_rows, value), 1.0 if higher_is_better else -1.0
    if not (a.defined and b.defined):
        return _undefined(sign * (a.estimate - factor * b.estimate), confidence, len(a_rows))
    contrast, deviations = sign * (a.influences - factor * b.influences), a.influences - b.influences
    width = _width(limits, np.concatenate([a.influences, b.influences]))
    evidence = Evidence(contrast, deviations, width, _difference_limits(limits, factor, sign), codes)
    a_units, b_units = _unit_rows(a_rows, evidence), _unit_rows(b_rows, evidence)
    return joined_interval(
        evidence, confidence, lambda counts: sign * (value(counts @ a_units) - factor * value(counts @ b_units))
    )


def _rows(rows: ArrayLike, name: str) -> Floats:
    table = np.asarray(rows, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"{name}: shape {table.shape}, wanted one row of statistics an item")
    if not np.isfinite(table).all():
        raise ValueError(f"{name}: not finite in item {np.argwhere(~np.isfinite(table))[0][0]}")
    return table


def _metric(rows: Floats, value: Value) -> _Metric:
    n, total = len(rows), rows.sum(axis=0)
    at_once = max(1, NUMBERS_AT_ONCE // max(rows.shape[1], 1))
    with np.errstate(all="ignore"):
        estimate = float(value(total))
        if n == 1:
            return _Metric(rows, value, estimate, np.array([estimate]))
        parts = [value(total - rows[start : start + at_once]) for start in range(0, n, at_once)]
        pull = -(n - 1) * np.concatenate(parts)
        return _Metric(rows, value, estimate, estimate + pull - pull.mean())


def _unit_rows(rows: Floats, evidence: Evidence) -> Floats:
    """Statistics summed by independent unit, and by random block where units are too many to resample."""
    labels = evidence.labels
    units = int(labels.max()) + 1
    if units > BCA_MAX_UNITS:
        labels = np.random.default_rng(0).permutation(units)[labels] % BCA_MAX_UNITS
    return _summed(rows, labels)


def _summed(rows: Floats, labels: Codes) -> Floats:
    return np.stack([np.bincount(labels, weights=column) for column in rows.T], axis=1)


def _width(limits: Limits | None, x: Floats) -> float:
    """Full width of the scale; 0 where the limits tell none and no item stands out beyond rounding."""
    if limits is not None and np.isfinite(limits).all():
        return limits[1] - limits[0]
    spread = float(np.ptp(x))
    return spread if spread > 1e-9 * float(np.abs(x).max()) else 0.0


def _difference_limits(limits: Limits | None, factor: float, sign: float) -> Limits | None:
    if limits is None:
        return None
    low, high = limits[0] - factor * limits[1], limits[1] - factor * limits[0]
    return (low, high) if sign > 0 else (-high, -low)


def _undefined(value: float, confidence: float, n: int) -> Interval:
    return make_interval(value if np.isfinite(value) else None, None, None, confidence, n, "undefined")
