"""Quantiles over items, such as the 95th percentile of latency: exact from order statistics, paired by MOVER."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import Interval
from harness.stats.intervals import check_factor, cluster_codes, finite_scores
from harness.stats.robust import (
    Codes,
    Evidence,
    Floats,
    Units,
    cr2_variance,
    make_interval,
    mean_variance,
    t_quantile,
)  # fmt: skip
from harness.stats.score import normal_quantile

Booleans = NDArray[np.bool_]


def quantile_interval(
    x: ArrayLike, q: float, clusters: Sequence[Hashable] | None = None, confidence: float = 0.95
) -> Interval:
    """The q-quantile of one run's values.

    x: shape (n,), finite, any unit. q: in (0, 1). clusters: as for `mean_interval`.
    The estimate is numpy's (linear between order statistics). The ends are order statistics, by the
    binomial distribution: exact for any continuous distribution and wide of it for a discrete one
    (Conover, 1999, Practical Nonparametric Statistics, section 3.2). With clusters, as many independent
    items are counted as give the variance of the share below the quantile (Woodruff, 1952, JASA 47,
    635-646; effective size as Korn and Graubard, 1998, Survey Methodology 24, 193-201).

    An end that lies beyond the most extreme item is None: the upper end of a 95th percentile takes 72
    items at 95 %. n = 0 gives None throughout; one cluster, or values that are all alike (`constant`), no ends.
    Raises ValueError for q outside (0, 1) and as `mean_interval` does.
    """
    values, codes = finite_scores(x, "x"), cluster_codes(clusters, np.size(x), confidence)
    _check_share(q)
    if not len(values):
        return make_interval(None, None, None, confidence, 0, "none")
    estimate = float(np.quantile(values, q))
    blocked = _blocked([values], codes)
    if blocked:
        return make_interval(estimate, None, None, confidence, len(values), blocked)
    low, high = _ends(values, estimate, q, codes, confidence)
    method = "order-statistics" if codes is None else "cluster-order-statistics"
    return make_interval(estimate, low, high, confidence, len(values), method)


def paired_quantile_interval(
    candidate: ArrayLike, reference: ArrayLike, q: float, clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95, *, factor: float = 1.0,
) -> Interval:  # fmt: skip
    """q-quantile of the candidate minus factor times that of the reference, over the same items.

    candidate, reference: shape (n,), finite, item i of one belongs to item i of the other.
    The ends of both `quantile_interval` are joined by the method of variance estimates recovery, MOVER
    (Zou, 2007, Psychological Methods 12, 399-413), with the correlation of the two sample
    quantiles, which is that of being below them (Bahadur's representation; Serfling, 1980, section 2.5).
    Not a bootstrap, which never draws beyond the largest item: of 50 items, its 95 % interval for the
    95th percentile of one run covers 86 %. The correlation is lowered by the variance floor, so that
    runs that agree on every item are not taken to agree on all others.

    An end is None where it rests on one that is. Raises ValueError as `quantile_interval` does, for
    unequal lengths and for a factor that is not positive.
    """
    a, b = finite_scores(candidate, "candidate"), finite_scores(reference, "reference")
    if len(a) != len(b):
        raise ValueError(f"candidate has {len(a)} values and reference {len(b)}; they must be paired")
    _check_share(q)
    check_factor(factor)
    codes = cluster_codes(clusters, len(a), confidence)
    if not len(a):
        return make_interval(None, None, None, confidence, 0, "none")
    at_a, at_b = float(np.quantile(a, q)), float(np.quantile(b, q))
    value, blocked = at_a - factor * at_b, _blocked([a, b], codes)
    if blocked:
        return make_interval(value, None, None, confidence, len(a), blocked)
    a_low, a_high = _ends(a, at_a, q, codes, confidence)
    b_low, b_high = _ends(b, at_b, q, codes, confidence)
    together = _correlation(a <= at_a, b <= at_b, codes, confidence)
    down = _recovered(at_a, a_low, factor * at_b, None if b_high is None else factor * b_high, together)
    up = _recovered(at_a, a_high, factor * at_b, None if b_low is None else factor * b_low, together)
    method = "mover" if codes is None else "cluster-mover"
    low, high = None if down is None else value - down, None if up is None else value + up
    return make_interval(value, low, high, confidence, len(a), method)


def _check_share(q: float) -> None:
    if not 0 < q < 1:
        raise ValueError(f"quantile {q} is not between 0 and 1")


def _blocked(runs: list[Floats], codes: Codes | None) -> str | None:
    """Why no interval can be given, as a method name."""
    if len(runs[0]) < 2 or (codes is not None and codes.max() < 1):
        return "one-unit"
    return "constant" if all(float(np.ptp(x)) == 0 for x in runs) else None


def _ends(
    x: Floats, estimate: float, q: float, codes: Codes | None, confidence: float
) -> tuple[float | None, float | None]:
    """Order statistics that hold the quantile, and its estimate, between them; None for one beyond the items."""
    from scipy import stats  # its import takes most of a second

    n, ordered, tail = len(x), np.sort(x), 0.5 - confidence / 2
    size = n if codes is None else _effective_size(x, q, codes, confidence)
    below, above = int(stats.binom.ppf(tail, size, q)), int(stats.binom.ppf(1 - tail, size, q)) + 1
    low = min(float(ordered[math.floor(below * n / size) - 1]), estimate) if below >= 1 else None
    high = max(float(ordered[math.ceil(above * n / size) - 1]), estimate) if above <= size else None
    return low, high


def _effective_size(x: Floats, q: float, codes: Codes, confidence: float) -> int:
    """Independent items that would know the share below the quantile as well as these clustered ones."""
    evidence = _share_below(x <= np.quantile(x, q), codes)
    ratio = t_quantile(Units.of(evidence.x, codes), confidence) / normal_quantile(confidence)
    variance = mean_variance(evidence, confidence) * ratio**2
    return max(1, min(len(x), int(q * (1 - q) / variance)))


def _share_below(below: Booleans, codes: Codes | None) -> Evidence:
    x = below.astype(np.float64)
    return Evidence(x, x - np.median(x), 1.0, (0.0, 1.0), codes)


def _correlation(a_below: Booleans, b_below: Booleans, codes: Codes | None, confidence: float) -> float:
    """Correlation of the two shares below; covariance from var(a + b) = var(a) + var(b) + 2 cov."""
    a, b = _share_below(a_below, codes), _share_below(b_below, codes)
    plain_a, plain_b, both = (cr2_variance(Units.of(x, a.labels)) for x in (a.x, b.x, a.x + b.x))
    scale = math.sqrt(mean_variance(a, confidence) * mean_variance(b, confidence))
    return (both - plain_a - plain_b) / 2 / scale


def _recovered(at_a: float, a_end: float | None, at_b: float, b_end: float | None, together: float) -> float | None:
    """Half width from the ends that move the difference the same way."""
    if a_end is None or b_end is None:
        return None
    u, v = abs(a_end - at_a), abs(b_end - at_b)
    return math.sqrt(max(u**2 + v**2 - 2 * together * u * v, 0.0))
