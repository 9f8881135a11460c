"""Claim `recipe`: training this way is better. Training seeds and items are both random, and crossed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from harness.records import Interval
from harness.stats.intervals import finite_scores, paired_evidence, paired_interval
from harness.stats.robust import Floats, make_interval


def recipe_interval(
    candidates: ArrayLike, reference: ArrayLike, clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95, *, factor: float = 1.0, shares: bool = True,
) -> Interval:  # fmt: skip
    """Mean over future seeds and items of the candidate, minus factor times that of the reference.

    candidates: shape (S, n), a row for each training seed; reference: shape (n,); both finite, column i
    is item i. clusters, factor, shares: as for `paired_interval`.

    The seeds' means give Student's t with S - 1 degrees of freedom, their average over the items gives
    `paired_interval`; the two half widths are joined as the root of their sum of squares, on either side
    by itself. For independent normal parts this covers at least what it claims, whatever their shares
    (Banerjee, 1960, Sankhya 22, 357-358); for skewed ones see Zou and Donner (2008), Statistics in
    Medicine 27, 1693-1702. Satterthwaite's sum, as in two-way cluster-robust variance (Cameron, Gelbach
    and Miller, 2011, JBES 29, 238-249), covers 88 % at two seeds. What seeds do to single items counts in
    both parts, which errs to the wide side.

    Two seeds have a t quantile of 12.7, three of 4.3, five of 2.8: few seeds show little.
    Raises ValueError with fewer than two seeds, and as `paired_interval` does.
    """
    rows, b = _crossed(candidates, reference)
    items = paired_interval(rows.mean(axis=0), b, clusters, confidence, factor=factor, shares=shares)
    method = f"{items.method}+seeds"
    if items.value is None or items.low is None or items.high is None:
        return make_interval(items.value, None, None, confidence, items.n, method)
    reach = float(special.stdtrit(len(rows) - 1, 0.5 + confidence / 2)) * math.sqrt(_between(rows))
    low = items.value - math.hypot(items.value - items.low, reach)
    high = items.value + math.hypot(items.high - items.value, reach)
    limits = paired_evidence(rows[0], b, None, factor, shares).limits if _shares(rows) else None
    if limits is not None:
        low, high = max(low, limits[0]), min(high, limits[1])
    return make_interval(items.value, low, high, confidence, items.n, method)


def _crossed(candidates: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    rows = np.asarray(candidates, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"candidates: shape {rows.shape}, wanted one row of scores a training seed")
    if len(rows) < 2:
        raise ValueError(
            f"{len(rows)} training seed: one training does not tell how far the next would differ; "
            "a claim about the recipe needs at least two, better five"
        )
    rows = np.stack([finite_scores(row, f"candidates[{s}]") for s, row in enumerate(rows)])
    b = finite_scores(reference, "reference")
    if rows.shape[1] != len(b):
        raise ValueError(f"candidates have {rows.shape[1]} scores a seed and reference {len(b)}; they must be paired")
    return rows, b


def _between(rows: Floats) -> float:
    """Variance of the mean over seeds, from the seeds' own means."""
    return float(rows.mean(axis=1).var(ddof=1)) / len(rows)


def _shares(rows: Floats) -> bool:
    return bool(((rows >= 0) & (rows <= 1)).all())
