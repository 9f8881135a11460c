"""Which interval for which scores: the two functions that everyone calls."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.records import Interval
from harness.stats.robust import Codes, Evidence, Floats, joined_interval, make_interval
from harness.stats.score import normal_quantile, tango_interval, wilson_interval


def mean_interval(
    scores: ArrayLike, clusters: Sequence[Hashable] | None = None, confidence: float = 0.95, *, shares: bool = True
) -> Interval:
    """Mean score of one run.

    scores: shape (n,), finite, any unit; the ends come back in the same unit.
    clusters: n labels; items with one label are not independent. None: all are.
    Wilson's interval (`wilson_interval`) for 0/1 scores without clusters, else the
    joined interval that `paired_interval` describes, with the median as the value to
    deviate from. Scores in [0, 1] give ends in [0, 1]; n = 0 gives None throughout.
    shares: whether values that all lie in [0, 1] are scores on that scale; False for e.g. seconds.
    Raises ValueError on a score that is not finite, lengths that differ, or a confidence
    outside (0, 1).
    """
    x = finite_scores(scores, "scores")
    codes = cluster_codes(clusters, len(x), confidence)
    if not len(x):
        return make_interval(None, None, None, confidence, 0, "none")
    if shares and codes is None and _is_binary(x):
        low, high = wilson_interval(int(x.sum()), len(x), confidence)
        return make_interval(float(x.mean()), low, high, confidence, len(x), "wilson")
    limits, width = ((0.0, 1.0), 1.0) if shares and _is_share(x) else (None, float(np.ptp(x)))
    return joined_interval(Evidence(x, x - np.median(x), width, limits, codes), confidence)


def paired_interval(
    candidate: ArrayLike, reference: ArrayLike, clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95, *, factor: float = 1.0, shares: bool = True,
) -> Interval:  # fmt: skip
    """Mean of candidate minus factor times mean of reference, over the same items.

    candidate, reference: shape (n,), finite, item i of one belongs to item i of the other.
    clusters: n labels, as for `mean_interval`.
    factor: 1 for a difference. For a relative margin the share to be kept: losing at most 2 % of
    the reference's score means that candidate - 0.98 * reference lies above 0. The linear contrast
    carries the reference's own uncertainty (Fieller, 1954, JRSS B 16, 175-185).
    shares: whether values that all lie in [0, 1] are scores on that scale; False for e.g. seconds.

    Independent items whose scores lie in [0, 1] and differ by -1, 0 or 1 (0/1 scores; pairwise
    judgements with a tie as 0.5 each), factor 1: Tango's score interval (`tango_interval`).

    Everything else: the union of two intervals. (1) Student's t with the bias-reduced
    cluster-robust variance CR2 and Satterthwaite degrees of freedom (Bell and McCaffrey,
    2002, Survey Methodology 28, 169-181); every item is its own cluster when none are
    given. (2) BCa bootstrap over clusters (Efron, 1987, JASA 82; by scipy), for up to
    1000 clusters. t alone misses on the long side of skewed differences and BCa
    alone is too narrow below some fifty units; the union holds its level in both cases.
    To the variance of (1) z^2/2 pseudo-items are added, two at 95 %, at the typical size of the
    differences that are not zero, of which a share of one more is imagined at the full range of
    the scores: many small differences are hardly widened, few or none are not mistaken for
    certainty. What differs is always candidate - reference, whatever the factor.

    Factor 1: swapping the arguments negates the interval. Scores in [0, 1] give ends in [-factor, 1].
    n = 0 gives None throughout. One single cluster gives [-factor, 1] for scores in [0, 1] and
    no ends otherwise; so do scores outside [0, 1] that are all one value (`constant`).
    Raises ValueError as `mean_interval` does, and for a factor that is not positive.
    """
    a, b = finite_scores(candidate, "candidate"), finite_scores(reference, "reference")
    if len(a) != len(b):
        raise ValueError(f"candidate has {len(a)} scores and reference {len(b)}; they must be paired")
    check_factor(factor)
    codes = cluster_codes(clusters, len(a), confidence)
    if not len(a):
        return make_interval(None, None, None, confidence, 0, "none")
    differences, on_scale = _differences(a, b), shares and _is_share(a) and _is_share(b)
    if on_scale and factor == 1 and codes is None and np.isin(differences, (-1, 0, 1)).all():
        gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
        low, high = tango_interval(gained, lost, len(a), confidence)
        return make_interval((gained - lost) / len(a), low, high, confidence, len(a), "tango")
    return joined_interval(paired_evidence(a, b, codes, factor, shares), confidence)


def paired_evidence(a: Floats, b: Floats, codes: Codes | None, factor: float, shares: bool = True) -> Evidence:
    """The contrast a - factor * b, and the differences a - b that its variance floor is made of; shapes (n,)."""
    share = shares and _is_share(a) and _is_share(b)
    width = 1.0 if share else float(np.ptp(np.concatenate([a, b])))
    return Evidence(a - factor * b, _differences(a, b), width, (-factor, 1.0) if share else None, codes)


def _differences(a: Floats, b: Floats) -> Floats:
    """a - b; what differs by rounding does not differ: many tiny deviations would be taken for much knowledge."""
    return np.where(np.abs(a - b) <= 1e-12 * np.maximum(np.abs(a), np.abs(b)), 0.0, a - b)


def check_factor(factor: float) -> None:
    """Raises ValueError unless the factor is positive and finite."""
    if not 0 < factor < np.inf:
        raise ValueError(f"factor {factor} is not a positive number")


def finite_scores(values: ArrayLike, name: str) -> Floats:
    """Scores as an array of shape (n,). Raises ValueError, naming the item, when one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: shape {array.shape}, wanted one score an item")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}] is {array[bad[0]]}: unscored items are counted apart, never passed on")
    return array


def cluster_codes(clusters: Sequence[Hashable] | None, n: int, confidence: float) -> Codes | None:
    """Labels as 0..G-1, or None when every item stands alone. Raises ValueError as `mean_interval` does."""
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
