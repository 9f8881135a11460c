"""Intervals for scores of any kind, clustered or not: t with a variance floor, joined with BCa."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from harness.records import Interval

Floats = NDArray[np.float64]

BCA_MAX_UNITS = 1000
"""Above this many independent units the bootstrap is left out: skewness moves the ends by O(1/units)."""
BCA_RESAMPLES = 1999
"""Of the bootstrap; the seed is fixed, so a verdict does not change when it is computed again."""
PSEUDO_ITEMS = 2.0
"""Items folded into the variance, one at either side, as Bonett and Price (2012) do for 0/1 pairs."""
PRIOR = 0.25
"""Weight, in items, of the belief that an unseen deviation has the full width of the scale."""


@dataclass(frozen=True, slots=True)
class Units:
    """Items summed up by independent unit (cluster, or the item itself)."""

    sums: Floats
    sizes: Floats

    @property
    def n(self) -> float:
        return float(self.sizes.sum())

    @property
    def mean(self) -> float:
        return float(self.sums.sum()) / self.n

    @property
    def residuals(self) -> Floats:
        return np.asarray(self.sums - self.sizes * self.mean)


def joined_interval(
    x: Floats, base: float, spread: float, limits: tuple[float, float] | None, codes: NDArray[np.intp] | None,
    confidence: float,
) -> Interval:  # fmt: skip
    """t with the variance floor, joined with BCa; see `paired_interval`. `base`: the value of "no deviation"."""
    labels = np.arange(len(x)) if codes is None else codes
    units = Units(np.bincount(labels, weights=x).astype(np.float64), np.bincount(labels).astype(np.float64))
    mean, n = float(x.mean()), len(x)
    if len(units.sums) < 2 or (limits is None and spread == 0):
        low, high = limits if limits is not None else (None, None)
        return make_interval(mean, low, high, confidence, n, "one-unit" if len(units.sums) < 2 else "constant")
    width = 1.0 if limits is not None else spread
    variance = _cr2_variance(units) + _floor_variance(units, x, base, width)
    half = float(special.stdtrit(_satterthwaite(units), 0.5 + confidence / 2)) * math.sqrt(variance)
    low, high, method = mean - half, mean + half, "t" if codes is None else "cluster-t"
    bootstrap = _bca(units, confidence)
    if bootstrap is not None:
        low, high, method = min(low, bootstrap[0]), max(high, bootstrap[1]), method + "+bca"
    if limits is not None:
        low, high = max(low, limits[0]), min(high, limits[1])
    return make_interval(mean, low, high, confidence, n, method)


def _cr2_variance(units: Units) -> float:
    """Variance of the mean: sum of r_g^2 / (1 - m_g/n), over n^2. With all sizes 1 it is s^2 / n."""
    return float((units.residuals**2 / (1 - units.sizes / units.n)).sum()) / units.n**2


def _floor_variance(units: Units, x: Floats, base: float, width: float) -> float:
    """What two pseudo-items at +-s, each as heavy as a block of items that move together, add to the variance.

    s^2 is the mean square deviation of the k items that deviate from `base`, with a share of an
    item (`PRIOR`) more at the full `width` of the scale; so s = width when k = 0. The block is
    the design effect, 1 to the typical cluster size, measured with as much of a wholly correlated
    cluster more: with no deviation at all, nothing is known and the pseudo-items are whole clusters.
    """
    deviations = x - base
    square = (float((deviations**2).sum()) + PRIOR * width**2) / (int(np.count_nonzero(deviations)) + PRIOR)
    typical = float((units.sizes**2).sum()) / units.n
    between = float((units.residuals**2).sum()) + PRIOR * square * typical**2
    within = float(((x - units.mean) ** 2).sum()) + PRIOR * square * typical
    block = min(max(between / within, 1.0), typical)
    return PSEUDO_ITEMS * square * block**2 / units.n**2


def _satterthwaite(units: Units) -> float:
    """Degrees of freedom of the CR2 variance; G - 1 for G clusters of one size, fewer for unequal ones.

    Bell and McCaffrey (2002) for a model with an intercept only and independence as the working
    model. Correlation inside very unequal clusters calls for fewer; the floor makes up for it.
    """
    sizes, n = units.sizes, units.n
    u = sizes**2 / (1 - sizes / n)
    return float(n**2 / ((sizes**2).sum() + (u.sum() ** 2 - (u**2).sum()) / n**2))


def _bca(units: Units, confidence: float) -> tuple[float, float] | None:
    """BCa bootstrap of the ratio sum / size over units, with a fixed seed; None where it says nothing."""
    if len(units.sums) > BCA_MAX_UNITS or float(np.ptp(units.residuals)) <= 1e-12 * (1 + abs(units.mean)):
        return None

    def ratio(sums: Floats, sizes: Floats, axis: int) -> Floats:
        return np.asarray(sums.sum(axis=axis) / sizes.sum(axis=axis))

    with warnings.catch_warnings(action="ignore"):
        found = stats.bootstrap(
            (units.sums, units.sizes), ratio, paired=True, vectorized=True, n_resamples=BCA_RESAMPLES,
            confidence_level=confidence, method="BCa", rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
    low, high = float(found.low), float(found.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def make_interval(
    value: float | None, low: float | None, high: float | None, confidence: float, n: int, method: str
) -> Interval:
    """An Interval from its parts, in their usual order."""
    return Interval(value=value, low=low, high=high, confidence=confidence, n=n, method=method)
