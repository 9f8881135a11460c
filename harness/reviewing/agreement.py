"""How far raters agree beyond chance: kappa of two raters and of any number, with intervals over the items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.records import Interval
from harness.stats import statistic_interval

Floats = NDArray[np.float64]


def cohen(first: Sequence[Hashable], second: Sequence[Hashable], confidence: float = 0.95) -> Interval:
    """Cohen's kappa of two raters (1960, Educational and Psychological Measurement 20, 37-46), from -1 to 1.

    first, second: the label that each gave to item i. Its value is None where chance alone would agree fully
    (one label throughout) and for no items. Interval: `stats.statistic_interval` over items.
    Raises ValueError for lists of unlike length.
    """
    labels = list(dict.fromkeys((*first, *second)))
    cells = np.zeros((len(first), len(labels), len(labels)))
    for row, one, other in zip(cells, first, second, strict=True):
        row[labels.index(one), labels.index(other)] = 1
    found = statistic_interval(cells.reshape(len(first), -1), _cohen, None, confidence, limits=(-1.0, 1.0))
    found = found.model_copy(update={"method": f"cohen, {found.method}"})
    return found if len(labels) > 1 else found.model_copy(update={"value": None, "low": None, "high": None})


def fleiss(counts: Sequence[Sequence[int]], confidence: float = 0.95) -> Interval:
    """Fleiss' kappa of any number of raters (1971, Psychological Bulletin 76, 378-382), from -1 to 1.

    counts: for every item how many raters gave each label, shape (n, labels), at least two raters an item; items may
    have unlike numbers of them, and then an item's agreement is the share of its own pairs of raters that agree.
    Its value is None where chance alone would agree fully, and for no items. Raises ValueError for an item with
    fewer than two raters.
    """
    given = np.asarray(counts, dtype=np.float64).reshape(len(counts), -1)
    raters = given.sum(axis=1)
    if (raters < 2).any():
        raise ValueError("an item with fewer than two raters has no agreement")
    same = ((given**2).sum(axis=1) - raters) / (raters * (raters - 1))
    rows = np.column_stack([same, np.ones(len(given)), given])
    found = statistic_interval(rows, _fleiss, None, confidence, limits=(-1.0, 1.0))
    found = found.model_copy(update={"method": f"fleiss, {found.method}"})
    some = (given.sum(axis=0) > 0).sum() > 1
    return found if some else found.model_copy(update={"value": None, "low": None, "high": None})


def _cohen(sums: Floats) -> Floats:
    """Counted pairs of labels, (..., k * k), to kappa, (...); 0 where chance agrees fully."""
    k = round(sums.shape[-1] ** 0.5)
    cells = sums.reshape(*sums.shape[:-1], k, k)
    n = cells.sum(axis=(-1, -2))
    same = np.trace(cells, axis1=-2, axis2=-1) / n
    return _beyond(same, (cells.sum(axis=-1) * cells.sum(axis=-2)).sum(axis=-1) / n**2)


def _fleiss(sums: Floats) -> Floats:
    """Summed agreement, items, and votes by label, (..., 2 + k), to kappa, (...); 0 where chance agrees fully."""
    votes = sums[..., 2:]
    shares = votes / votes.sum(axis=-1, keepdims=True)
    return _beyond(sums[..., 0] / sums[..., 1], (shares**2).sum(axis=-1))


def _beyond(same: Floats, chance: Floats) -> Floats:
    return np.asarray(np.divide(same - chance, 1 - chance, out=np.zeros_like(same), where=chance < 1))
