"""BCa bootstrap, by scipy, of any statistic of independent units, with a fixed seed and bounded memory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], Floats]
"""A statistic of how often each unit was drawn: counts, shape (draws, units), to values, shape (draws,)."""

BCA_MAX_UNITS = 1000
"""Above this many units skewness moves the ends by too little, O(1/units), to be worth the time."""
MIN_RESAMPLES = 1999
"""The seed is fixed, so a verdict does not change when it is computed again."""
MAX_RESAMPLES = 9999
"""Resamples for the most extreme levels."""
IN_EACH_TAIL = 10
"""Resamples wanted beyond either end: levels spent over looks and families lie far out."""
NUMBERS_AT_ONCE = 100_000
"""Draws times units held at a time: what stays in a processor's cache takes half the time."""


def bca_interval(statistic: Weighted, units: int, confidence: float) -> tuple[float, float] | None:
    """Bias-corrected and accelerated bootstrap over units; None where it says nothing.

    Efron (1987), Better bootstrap confidence intervals, JASA 82, 171-185, by `scipy.stats.bootstrap`.
    It says nothing about fewer than two units, a statistic that no draw changes, or one that some draw
    leaves undefined.
    """
    if units < 2:
        return None
    from scipy import stats  # its import takes most of a second

    def of_draws(drawn: NDArray[np.intp], axis: int) -> Floats:
        flat = np.moveaxis(drawn, axis, -1).reshape(-1, drawn.shape[axis])
        places = flat + units * np.arange(len(flat))[:, None]
        counts = np.bincount(places.ravel(), minlength=units * len(flat)).reshape(-1, units)
        return statistic(counts.astype(np.float64)).reshape(np.delete(drawn.shape, axis))

    resamples = math.ceil(min(max(MIN_RESAMPLES, IN_EACH_TAIL / (0.5 - confidence / 2)), MAX_RESAMPLES))
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        found = stats.bootstrap(
            (np.arange(units),), of_draws, vectorized=True, n_resamples=resamples, confidence_level=confidence,
            batch=max(1, NUMBERS_AT_ONCE // units), method="BCa", rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
    low, high = float(found.low), float(found.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None
