"""How the values of items become one number with its interval: their mean, a quantile, or a corpus metric."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.metrics import CorpusValue
from harness.records import Interval

Floats = NDArray[np.float64]
Clusters = Sequence[Hashable] | None


class Estimator(Protocol):
    """Values of items, shape (n,) or rows of statistics (n, p), to one number."""

    def value(self, x: Floats) -> float:
        """Point estimate over at least one item."""
        ...

    def of_items(self, x: Floats) -> Floats:
        """The value of each item alone, shape (n,): what says which side did better on it."""
        ...

    def single(self, x: Floats, clusters: Clusters, confidence: float) -> Interval:
        """Interval of one run's value."""
        ...

    def paired(self, a: Floats, b: Floats, clusters: Clusters, confidence: float, factor: float) -> Interval:
        """Interval of value(a) - factor * value(b) over the same items."""
        ...


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean over items."""

    scores: bool = True
    """Whether values are scores, which may lie on the scale [0, 1]; False for seconds and tokens."""

    def value(self, x: Floats) -> float:
        return float(x.mean())

    def of_items(self, x: Floats) -> Floats:
        return x

    def single(self, x: Floats, clusters: Clusters, confidence: float) -> Interval:
        return stats.mean_interval(x, clusters, confidence, shares=self.scores)

    def paired(self, a: Floats, b: Floats, clusters: Clusters, confidence: float, factor: float) -> Interval:
        return stats.paired_interval(a, b, clusters, confidence, factor=factor, shares=self.scores)


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile over items."""

    q: float

    def value(self, x: Floats) -> float:
        return float(np.quantile(x, self.q))

    def of_items(self, x: Floats) -> Floats:
        return x

    def single(self, x: Floats, clusters: Clusters, confidence: float) -> Interval:
        return stats.quantile_interval(x, self.q, clusters, confidence)

    def paired(self, a: Floats, b: Floats, clusters: Clusters, confidence: float, factor: float) -> Interval:
        return stats.paired_quantile_interval(a, b, self.q, clusters, confidence, factor=factor)


@dataclass(frozen=True, slots=True)
class Statistic:
    """A corpus metric: the value of the sum of the items' rows."""

    corpus: CorpusValue
    limits: tuple[float, float]

    def value(self, x: Floats) -> float:
        return float(self.corpus.value(x.sum(axis=0)))

    def of_items(self, x: Floats) -> Floats:
        return self.corpus.value(x)

    def single(self, x: Floats, clusters: Clusters, confidence: float) -> Interval:
        return stats.statistic_interval(x, self.corpus.value, clusters, confidence, limits=self.limits)

    def paired(self, a: Floats, b: Floats, clusters: Clusters, confidence: float, factor: float) -> Interval:
        return stats.paired_statistic_interval(
            a, b, self.corpus.value, clusters, confidence, factor=factor, limits=self.limits
        )
