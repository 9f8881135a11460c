"""What a paired comparison will be made of, as far as it is known before it is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Design:
    """Items, how many of them differ and by how much, and how they hang together.

    Raises ValueError unless n >= 1, 0 <= discordance <= 1, size > 0, 0 <= icc <= 1 and cluster_sizes
    are positive and sum to n.
    """

    n: int
    """Items that will be compared."""
    discordance: float
    """Share of items on which the two sides differ; for 0/1 scores, on which just one side is right."""
    size: float = 1.0
    """Root mean square of the differences that are not zero, in the metric's unit; 1 for 0/1 scores."""
    cluster_sizes: tuple[int, ...] | None = None
    """Items of each cluster, those that stand alone too; None when all do."""
    icc: float = 0.0
    """Correlation of two differences inside one cluster."""

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.discordance <= 1 or not (0 < self.size < math.inf and 0 <= self.icc <= 1):
            raise ValueError(
                "a design wants n >= 1, a discordance and an icc in [0, 1] and a positive size: "
                f"{self.n}, {self.discordance}, {self.icc}, {self.size}"
            )
        if self.cluster_sizes is not None and (
            min(self.cluster_sizes, default=0) < 1 or sum(self.cluster_sizes) != self.n
        ):
            raise ValueError(f"cluster sizes must be positive and sum to n, {self.n}: {sum(self.cluster_sizes)}")

    @property
    def clustered(self) -> bool:
        """Whether any two items share a cluster."""
        return self.cluster_sizes is not None and len(self.cluster_sizes) < self.n

    @property
    def binary(self) -> bool:
        """Whether every difference is -1, 0 or 1, as for 0/1 scores."""
        return self.size == 1.0

    @property
    def sizes(self) -> Whole:
        """Items of each unit, shape (units,)."""
        return np.asarray(self.cluster_sizes if self.clustered else np.ones(self.n), dtype=np.int64)

    @property
    def units(self) -> int:
        """Independent units: clusters, or items where all stand alone."""
        return len(self.cluster_sizes) if self.cluster_sizes is not None else self.n

    @property
    def typical(self) -> float:
        """Size of the cluster that a random item lies in, on average."""
        return float((self.sizes.astype(np.float64) ** 2).sum()) / self.n

    @property
    def effect(self) -> float:
        """Design effect: by how much clusters multiply the variance of the mean (Kish 1965, section 5.4)."""
        return 1 + self.icc * (self.typical - 1)

    @property
    def mean_magnitude(self) -> float:
        """Mean absolute value of the differences that are not zero; see `magnitudes`."""
        return self.size * math.sqrt(3) / 2 if self._power is None else 1 / (1 + self._power)

    @property
    def _power(self) -> float | None:
        """a of the magnitude u^a on [0, 1]; None below 1/sqrt(3) and above 1, where magnitudes are uniform."""
        return (self.size**-2 - 1) / 2 if 1 / math.sqrt(3) < self.size <= 1 else None

    def magnitudes(self, u: Floats) -> Floats:
        """Absolute differences from uniform numbers u: uniform on [0, sqrt(3) size] where that stays within the
        scale of 1, else u^a, which has the wanted root mean square and stays within it."""
        return self.size * math.sqrt(3) * u if self._power is None else u**self._power

    def variance(self, truth: float) -> float:
        """Variance of one item's difference when its mean is `truth`."""
        return max(self.discordance * self.size**2 - truth**2, 0.0)

    def allowing(self, truth: float) -> Design:
        """The design with as many, and if need be as large, differences as a mean difference of `truth` takes."""
        if abs(truth) > self.mean_magnitude:
            return replace(self, discordance=1.0, size=self._size_for(abs(truth)))
        return replace(self, discordance=max(self.discordance, abs(truth) / self.mean_magnitude))

    def _size_for(self, mean: float) -> float:
        """The size whose mean magnitude is `mean`; a little more, against rounding."""
        mean = mean * (1 + 1e-12)
        power = 1 / mean - 1
        return (1 + 2 * power) ** -0.5 if 0 <= power <= 1 else mean * 2 / math.sqrt(3)

    def with_items(self, n: int) -> Design:
        """The design with n items, of clusters like those at hand."""
        if self.cluster_sizes is None or not self.clustered:
            return replace(self, n=n, cluster_sizes=None)
        mixed = np.random.default_rng(0).permutation(self.sizes)
        ends = np.cumsum(np.tile(mixed, -(-n // self.n)))
        kept = int(np.searchsorted(ends, n)) + 1
        sizes = np.diff(np.minimum(ends[:kept], n), prepend=0)
        return replace(self, n=n, cluster_sizes=tuple(int(size) for size in sizes))


def observed(differences: ArrayLike, units: Sequence[int] | None = None) -> Design:
    """The design that differences were seen to have.

    differences: shape (n,), of one item each. units: n labels of clusters; None: all items stand alone.
    Half an item more is counted as differing, and half as not, on either side: none seen to differ does not mean
    that none can. icc: one-way analysis of variance (Donner 1986, International Statistical Review 54, 67-82), in
    [0, 1]; 0 where it cannot be told. Raises ValueError for no items.
    """
    x = np.asarray(differences, dtype=np.float64)
    differing = x[x != 0]
    size = float(np.sqrt(np.mean(differing**2))) if len(differing) else 1.0
    labels = np.arange(len(x)) if units is None else np.unique(np.asarray(units), return_inverse=True)[1]
    sizes = np.bincount(labels)
    return Design(
        n=len(x),
        discordance=(len(differing) + 1) / (len(x) + 2),
        size=size,
        cluster_sizes=tuple(int(m) for m in sizes) if len(sizes) < len(x) else None,
        icc=_icc(x, labels, sizes),
    )


def _icc(x: Floats, labels: NDArray[np.intp], sizes: NDArray[np.intp]) -> float:
    groups, n = len(sizes), len(x)
    if groups in (n, 1):
        return 0.0
    means = np.bincount(labels, weights=x) / sizes
    between = float((sizes * (means - x.mean()) ** 2).sum()) / (groups - 1)
    within = float(((x - means[labels]) ** 2).sum()) / (n - groups)
    typical = (n - float((sizes**2).sum()) / n) / (groups - 1)
    total = between + (typical - 1) * within
    return min(max((between - within) / total, 0.0), 1.0) if total > 0 else 0.0
