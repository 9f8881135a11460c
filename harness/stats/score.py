"""Score-type inference for 0/1 scores: Wilson's interval; of pairs Tango's, and McNemar's exact test."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

SECTIONS = 64
"""Parts of an interval that are searched at once: one array of them costs little more than one number."""


def wilson_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval for one proportion, right / n; n >= 1. Always in [0, 1].

    Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22, 209-212. Written
    out, since most runs need no more than this, and the import of `scipy.stats` takes most of a second.
    """
    z, share = normal_quantile(confidence), right / n
    scale = 2 * (n + z**2)
    middle, half = (2 * n * share + z**2) / scale, z / scale * math.sqrt(4 * n * share * (1 - share) + z**2)
    return (0.0 if right == 0 else middle - half), (1.0 if right == n else middle + half)


def tango_interval(gained: int, lost: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval for the difference of two paired proportions, (gained - lost) / n.

    gained: items right with the candidate only; lost: with the reference only; n: all items.
    Tango (1998), Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design, Statistics in Medicine 17, 891-908: all differences that the score
    test at level 1 - confidence does not reject, nuisance at its constrained maximum likelihood.
    No discordant item gives z^2 / (n + z^2) to either side. Always in [-1, 1].
    Raises ValueError unless gained, lost >= 0, gained + lost <= n and n >= 1.
    """
    if gained < 0 or lost < 0 or n < 1 or gained + lost > n:
        raise ValueError(f"not a paired table: gained {gained}, lost {lost}, n {n}")
    z, estimate = normal_quantile(confidence), (gained - lost) / n

    def end(limit: float) -> float:
        """Section by section between the estimate, which is never rejected, and the end of the scale, which is."""
        inside, outside = estimate, limit
        while abs(outside - inside) > 1e-12:
            between = np.linspace(inside, outside, SECTIONS + 1)
            rejected = np.abs(tango_z(gained, lost, n, between[1:-1])) > z
            first = int(rejected.argmax()) if rejected.any() else SECTIONS - 1
            inside, outside = float(between[first]), float(between[first + 1])
        return (inside + outside) / 2

    low = -1.0 if estimate == -1 else end(-1.0)
    high = 1.0 if estimate == 1 else end(1.0)
    return low, high


def tango_z(gained: ArrayLike, lost: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Floats:
    """Tango's score statistic of the hypothesis that the true difference is `delta`; broadcasts.

    Positive when the candidate did better than `delta`. Tango (1998), as for `tango_interval`.
    Where the variance under the hypothesis is 0 the result is 0 if the data agree and
    infinite if they cannot be.
    """
    b, c, m, d = (np.asarray(x, dtype=np.float64) for x in (gained, lost, n, delta))
    linear = (2 * m - b + c) * d - b - c
    root = np.sqrt(np.maximum(linear**2 + 8 * m * c * d * (1 - d), 0.0))
    variance = m * np.maximum((root - linear) / (2 * m) + d * (1 - d), 0.0)
    distance = b - c - m * d
    with np.errstate(divide="ignore", invalid="ignore"):
        z = distance / np.sqrt(variance)
    return np.asarray(np.where(np.abs(distance) < 1e-9 * m, 0.0, z), dtype=np.float64)


def mcnemar_exact_p(gained: int, lost: int) -> float:
    """Two-sided exact p-value that gains and losses are equally likely (McNemar; binomial, by scipy).

    Conditional on the discordant items; 1.0 when there are none.
    """
    from scipy import stats  # its import takes most of a second

    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def normal_quantile(confidence: float) -> float:
    """Two-sided normal quantile, e.g. 1.96 for 0.95. Raises ValueError outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return float(special.ndtri(0.5 + confidence / 2))
