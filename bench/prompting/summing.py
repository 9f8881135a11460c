"""What cells come to: means over seeds, items and tasks, with intervals; what was reached at half of the calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.records import TracePoint

DRAWS, SEED = 4000, 20261122
"""Of the bootstrap."""
Scores = NDArray[np.float64]
"""Shape (seeds, test items): one task and method; nan is unscored."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float


def estimate(tasks: Sequence[Scores]) -> Estimate:
    """The mean over tasks of the mean score; percentile bootstrap (Efron 1979) over a task's seeds and items."""
    return _interval(np.mean([np.nanmean(task) for task in tasks]), np.mean([_draws(task) for task in tasks], axis=0))


def difference(ours: Sequence[Scores], theirs: Sequence[Scores]) -> Estimate:
    """The mean over tasks of ours minus theirs, on the same items; seeds are drawn for each side apart."""
    pairs = list(zip(ours, theirs, strict=True))
    value = np.mean([np.nanmean(a) - np.nanmean(b) for a, b in pairs])
    return _interval(value, np.mean([_draws(a) - _draws(b, other=True) for a, b in pairs], axis=0))


def _draws(scores: Scores, other: bool = False) -> Scores:
    """Means of resampled tasks, shape (DRAWS,). The same items are drawn for everyone; `other` draws other seeds."""
    seeds, items = scores.shape
    columns = np.random.default_rng(SEED).multinomial(items, np.full(items, 1 / items), size=DRAWS)
    rows = np.random.default_rng(SEED + 1 + other).multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
    scored = (~np.isnan(scores)).astype(np.float64)
    means: Scores = ((rows @ np.nan_to_num(scores)) * columns).sum(1) / ((rows @ scored) * columns).sum(1)
    return means


def _interval(value: np.floating, draws: Scores) -> Estimate:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))


def leader_at(trace: Sequence[TracePoint], calls: int) -> TracePoint | None:
    """Who led when so many calls were made, by the search's own trace. None: nobody yet."""
    return next((point for point in reversed(trace) if point.calls <= calls), None)
