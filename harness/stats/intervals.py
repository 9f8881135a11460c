"""Which interval for which scores: the two functions that everyone calls."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from harness.records import Interval
from harness.stats.robust import joined_interval, make_interval
from harness.stats.score import normal_quantile, tango_interval

Floats = NDArray[np.float64]


def mean_interval(scores: ArrayLike, clusters: Sequence[Hashable] | None = None, confidence: float = 0.95) -> Interval:
    """Mean score of one run.

    scores: shape (n,), finite, any unit; the ends come back in the same unit.
    clusters: n labels; items with one label are not independent. None: all are.
    Wilson's interval (Wilson 1927, by scipy) for 0/1 scores without clusters, else the
    joined interval that `paired_interval` describes, with the median as the value to
    deviate from. Scores in [0, 1] give ends in [0, 1]; n = 0 gives None throughout.
    Raises ValueError on a score that is not finite, lengths that differ, or a confidence
    outside (0, 1).
    """
    x = _finite(scores, "scores")
    codes = _codes(clusters, len(x), confidence)
    if not len(x):
        return make_interval(None, None, None, confidence, 0, "none")
    if codes is None and _is_binary(x):
        test = stats.binomtest(int(x.sum()), len(x)).proportion_ci(confidence, method="wilson")
        return make_interval(float(x.mean()), float(test.low), float(test.high), confidence, len(x), "wilson")
    limits = (0.0, 1.0) if _is_share(x) else None
    return joined_interval(x, float(np.median(x)), float(np.ptp(x)), limits, codes, confidence)


def paired_interval(
    candidate: ArrayLike, reference: ArrayLike, clusters: Sequence[Hashable] | None = None, confidence: float = 0.95
) -> Interval:
    """Mean of candidate minus reference over the same items.

    candidate, reference: shape (n,), finite, item i of one belongs to item i of the other.
    clusters: n labels, as for `mean_interval`.

    0/1 scores without clusters: Tango's score interval (`tango_interval`).

    Everything else: the union of two intervals. (1) Student's t with the bias-reduced
    cluster-robust variance CR2 and Satterthwaite degrees of freedom (Bell and McCaffrey,
    2002, Survey Methodology 28, 169-181); every item is its own cluster when none are
    given. (2) BCa bootstrap over clusters (Efron, 1987, JASA 82; by scipy), for up to
    `BCA_MAX_UNITS` clusters. t alone misses on the long side of skewed differences and BCa
    alone is too narrow below some fifty units; the union holds its level in both cases.
    To the variance of (1) two pseudo-items are added, at the typical size of the differences
    that are not zero, of which one more is imagined at the full range of the scores: many
    small differences are hardly widened, few or none are not mistaken for certainty.

    Swapping the arguments negates the interval. Scores in [0, 1] give ends in [-1, 1].
    n = 0 gives None throughout. One single cluster gives [-1, 1] for scores in [0, 1] and
    no ends otherwise; so do scores outside [0, 1] that are all one value (`constant`).
    Raises ValueError as `mean_interval` does.
    """
    a, b = _finite(candidate, "candidate"), _finite(reference, "reference")
    if len(a) != len(b):
        raise ValueError(f"candidate has {len(a)} scores and reference {len(b)}; they must be paired")
    codes = _codes(clusters, len(a), confidence)
    if not len(a):
        return make_interval(None, None, None, confidence, 0, "none")
    both = np.concatenate([a, b])
    if codes is None and _is_binary(both):
        gained, lost = int((a > b).sum()), int((a < b).sum())
        low, high = tango_interval(gained, lost, len(a), confidence)
        return make_interval((gained - lost) / len(a), low, high, confidence, len(a), "tango")
    limits = (-1.0, 1.0) if _is_share(both) else None
    return joined_interval(a - b, 0.0, float(np.ptp(both)), limits, codes, confidence)


def _finite(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: shape {array.shape}, wanted one score an item")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}] is {array[bad[0]]}: unscored items are counted apart, never passed on")
    return array


def _codes(clusters: Sequence[Hashable] | None, n: int, confidence: float) -> NDArray[np.intp] | None:
    """Labels as 0..G-1, or None when every item stands alone."""
    normal_quantile(confidence)
    if clusters is None:
        return None
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} cluster labels for {n} scores")
    index: dict[Hashable, int] = {}
    codes = np.fromiter((index.setdefault(label, len(index)) for label in clusters), dtype=np.intp, count=n)
    return codes if len(index) < n else None


def _is_binary(x: Floats) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _is_share(x: Floats) -> bool:
    return bool(((x >= 0) & (x <= 1)).all())
