"""Intervals for values of any kind, clustered or not: t with a variance floor, joined with BCa."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.records import Interval
from harness.stats.bootstrap import BCA_MAX_UNITS, Weighted, bca_interval
from harness.stats.score import normal_quantile

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an interval rests on."""

    x: Floats
    """Shape (n,): values whose mean is the estimate."""
    deviations: Floats
    """Shape (n,): how far each item is from "nothing happened"; the variance floor is made of them."""
    width: float
    """Full width of the scale, how far one item could deviate; 0 where nothing tells."""
    limits: tuple[float, float] | None
    """Where the estimate must lie; None when nothing bounds it."""
    codes: Codes | None
    """Shape (n,): cluster of each item, 0..G-1; None when every item stands alone."""

    @property
    def labels(self) -> Codes:
        """Independent unit of each item: its cluster, or itself."""
        return np.arange(len(self.x), dtype=np.intp) if self.codes is None else self.codes


@dataclass(frozen=True, slots=True)
class Units:
    """Items summed up by independent unit (cluster, or the item itself)."""

    sums: Floats
    sizes: Floats

    @classmethod
    def of(cls, x: Floats, labels: Codes) -> Units:
        return cls(np.bincount(labels, weights=x).astype(np.float64), np.bincount(labels).astype(np.float64))

    @property
    def n(self) -> float:
        return float(self.sizes.sum())

    @property
    def mean(self) -> float:
        return float(self.sums.sum()) / self.n

    @property
    def residuals(self) -> Floats:
        return np.asarray(self.sums - self.sizes * self.mean)


def joined_interval(evidence: Evidence, confidence: float, bootstrapped: Weighted | None = None) -> Interval:
    """t with the variance floor, joined with BCa; see `paired_interval`.

    bootstrapped: what BCa is made of instead of the mean of x, for a metric that is no mean; its
    units are those of the evidence, or `BCA_MAX_UNITS` blocks of them when there are more.
    """
    units, limits = Units.of(evidence.x, evidence.labels), evidence.limits
    mean, n, count = float(evidence.x.mean()), len(evidence.x), len(units.sums)
    if count < 2 or evidence.width == 0:
        low, high = limits if limits is not None and np.isfinite(limits).all() else (None, None)
        return make_interval(mean, low, high, confidence, n, "one-unit" if count < 2 else "constant")
    half = t_quantile(units, confidence) * math.sqrt(mean_variance(evidence, confidence))
    low, high, method = mean - half, mean + half, "t" if evidence.codes is None else "cluster-t"
    if bootstrapped is not None:
        bootstrap = bca_interval(bootstrapped, min(count, BCA_MAX_UNITS), confidence)
    else:
        bootstrap = _bca_of_mean(units, confidence)
    if bootstrap is not None:
        low, high, method = min(low, bootstrap[0]), max(high, bootstrap[1]), method + "+bca"
    if limits is not None:
        low, high = max(low, limits[0]), min(high, limits[1])
    return make_interval(mean, low, high, confidence, n, method)


def mean_variance(evidence: Evidence, confidence: float) -> float:
    """Variance of the mean of x over at least two units: CR2 and the floor. Unit: that of x, squared."""
    return cr2_variance(Units.of(evidence.x, evidence.labels)) + _floor_variance(evidence, confidence)


def floor_weights(confidence: float) -> tuple[float, float]:
    """Items folded into the variance, and the weight of the belief in an unseen deviation; both in items.

    z^2/2 pseudo-items are two at 95 %, as in Bonett and Price (2012) for 0/1 pairs. The belief that
    an unseen deviation has the full width of the scale weighs z^2/8. They grow with z^2, as the
    pseudo-counts of Agresti and Coull (1998) do: far out in the tail it takes more to believe that
    what was seen is all there is. 1/2 and 1/8 hold the level in simulations of few, one-sided differences.
    """
    z = normal_quantile(confidence)
    return z**2 / 2, z**2 / 8


def cr2_variance(units: Units) -> float:
    """Variance of the mean: sum of r_g^2 / (1 - m_g/n), over n^2. With all sizes 1 it is s^2 / n.

    Bell and McCaffrey (2002), Survey Methodology 28, 169-181.
    """
    return float((units.residuals**2 / (1 - units.sizes / units.n)).sum()) / units.n**2


def t_quantile(units: Units, confidence: float) -> float:
    """Two-sided quantile of t with the units' degrees of freedom."""
    return float(special.stdtrit(_satterthwaite(units), 0.5 + confidence / 2))


def _floor_variance(evidence: Evidence, confidence: float) -> float:
    """What pseudo-items at +-s, each as heavy as a block of items that move together, add to the variance.

    s^2 is the mean square of the k deviations that are not zero, with a share of an item (the
    prior) more at the full `width` of the scale; so s = width when k = 0. The block is
    the design effect, 1 to the typical cluster size, measured with as much of a wholly correlated
    cluster more: with no deviation at all, nothing is known and the pseudo-items are whole clusters.

    Small deviations on every item say little of rare large ones. So the floor is at least the prior alone, at what
    lies between the largest deviation seen and the full width: about one and a half such losses, none of them seen,
    stay inside the interval.
    """
    x, (pseudo, prior) = evidence.deviations, floor_weights(confidence)
    units = Units.of(x, evidence.labels)
    square = (float((x**2).sum()) + prior * evidence.width**2) / (int(np.count_nonzero(x)) + prior)
    typical = float((units.sizes**2).sum()) / units.n
    between = float((units.residuals**2).sum()) + prior * square * typical**2
    within = float(((x - units.mean) ** 2).sum()) + prior * square * typical
    block = min(max(between / within, 1.0), typical)
    unseen = evidence.width - min(float(np.abs(x).max()), evidence.width)
    return max(pseudo * square, prior * unseen**2) * block**2 / units.n**2


def _satterthwaite(units: Units) -> float:
    """Degrees of freedom of the CR2 variance; with all sizes 1 it is n - 1.

    Bell and McCaffrey (2002) for a model with an intercept only and independence as the working
    model. Correlation inside very unequal clusters calls for fewer; the floor makes up for it.
    """
    sizes, n = units.sizes, units.n
    u = sizes**2 / (1 - sizes / n)
    return float(n**2 / ((sizes**2).sum() + (u.sum() ** 2 - (u**2).sum()) / n**2))


def _bca_of_mean(units: Units, confidence: float) -> tuple[float, float] | None:
    """BCa of the ratio sum / size; None for more than `BCA_MAX_UNITS` units and where all are alike."""
    if len(units.sums) > BCA_MAX_UNITS or float(np.ptp(units.residuals)) <= 1e-12 * (1 + abs(units.mean)):
        return None
    return bca_interval(lambda counts: (counts @ units.sums) / (counts @ units.sizes), len(units.sums), confidence)


def make_interval(
    value: float | None, low: float | None, high: float | None, confidence: float, n: int, method: str
) -> Interval:
    """An Interval from its parts, in their usual order."""
    return Interval(value=value, low=low, high=high, confidence=confidence, n=n, method=method)
