"""Early decision: an anytime-valid test of a mean paired difference against a margin, by betting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Decided = Literal["pass", "fail"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
STAKES: Final[Floats] = (1 + _NODES) / 2
"""Shares of the largest allowed bet, in (0, 1)."""
SHARES: Final[Floats] = _WEIGHTS / 2
"""Capital that starts on each; Gauss-Legendre nodes and weights, so nearly uniform over all stakes."""
BLOCK: Final = 8192
"""Units whose capital is computed at a time: bounds the memory."""


class PairedSequence:
    """Decides as items arrive whether a mean difference lies above or below a margin; may be asked at any time.

    Two gamblers start with one unit of capital. One bets against "mean <= margin", the other against
    "mean >= margin"; each puts a fixed share of it on every stake of a grid and never moves it, so that the
    capital after t units x_1..x_t is the mixture over stakes of prod(1 + stake * (x_i - margin) / reach), with
    reach the largest loss that the scale allows. If the hypothesis is true the capital is a nonnegative
    supermartingale, so the chance that it ever reaches 1/level is at most level (Ville's inequality). That
    holds for dependent looks, any stopping rule and any distribution on [lower, upper]. Waudby-Smith and Ramdas
    (2024), Estimating means of bounded random variables by betting, JRSS-B 86, 1-27: the capital process; the
    mixture over stakes is Cover's universal portfolio (1991, Mathematical Finance 1, 1-29), which needs no guess
    of the variance and loses little to the stake that is best in hindsight.

    Units are items, or clusters of items that are not independent of each other. They must arrive in an order
    that knows nothing of the scores (a random one, fixed beforehand), and be a sample from those that the claim
    is about. A cluster of m items enters as (sum - margin * m) / largest_cluster: the claim is about the mean
    over items, also when clusters are unequal.

    margin: in the unit of the differences, inside (lower, upper). pass_level, fail_level: one-sided chances of a
    wrong decision. largest_cluster: most items in any unit that can arrive. lower, upper: ends of the scale of one
    item's difference. Raises ValueError outside these ranges.
    """

    def __init__(
        self, margin: float, pass_level: float, fail_level: float, *, largest_cluster: int = 1,
        lower: float = -1.0, upper: float = 1.0,
    ) -> None:  # fmt: skip
        _check(margin, (pass_level, fail_level), largest_cluster, lower, upper)
        self._margin, self._largest = margin, largest_cluster
        self._lower, self._upper = lower, upper
        self._levels = pass_level, fail_level
        self._sums, self._sizes = np.empty(0), np.empty(0)
        self._above, self._below = np.zeros(len(STAKES)), np.zeros(len(STAKES))
        self._outcome: Decided | None = None

    def add(self, sums: ArrayLike, sizes: ArrayLike) -> None:
        """Units in the order in which they arrive.

        sums, sizes: shape (k,): the sum of the differences of each unit's items and their number.
        Raises ValueError on a size outside 1..largest_cluster or a sum that the scale does not allow.
        """
        s, m = np.atleast_1d(np.asarray(sums, np.float64)), np.atleast_1d(np.asarray(sizes, np.float64))
        self._refuse(s, m)
        self._sums, self._sizes = np.concatenate([self._sums, s]), np.concatenate([self._sizes, m])
        for start in range(0, len(s), BLOCK):
            block = slice(start, start + BLOCK)
            self._bet(s[block], m[block])

    @property
    def outcome(self) -> Decided | None:
        """What was decided at the first crossing; later units do not change it. None: undecided so far."""
        return self._outcome

    @property
    def items(self) -> int:
        """Items seen."""
        return int(self._sizes.sum())

    def interval(self, low_level: float, high_level: float) -> tuple[float, float]:
        """Confidence sequence of the mean difference at the present time: all means that no bet has refuted so far.

        low_level, high_level: one-sided chances that it ever excludes the truth from below or above, each in (0, 1).
        Its lower end has reached the margin exactly when the test at that pass level passed, likewise its upper
        end. (lower, upper) before any unit. To 1e-6 of the scale.
        """
        _check(self._margin, (low_level, high_level), self._largest, self._lower, self._upper)
        low = _refuted(lambda m: self._capital(m, 1), self._lower, self._upper, low_level)
        high = _refuted(lambda m: self._capital(m, -1), self._upper, self._lower, high_level)
        return low, high

    def _bet(self, sums: Floats, sizes: Floats) -> None:
        above, self._above = _grown(self._above, self._payoffs(self._margin, 1, sums, sizes))
        below, self._below = _grown(self._below, self._payoffs(self._margin, -1, sums, sizes))
        if self._outcome is None:
            passed, failed = _first(above, self._levels[0]), _first(below, self._levels[1])
            if min(passed, failed) < len(sums):
                self._outcome = "pass" if passed <= failed else "fail"

    def _payoffs(self, mean: float, side: int, sums: Floats, sizes: Floats) -> Floats:
        """What a unit pays on a full stake against "the mean is at most (side 1) or at least (-1) `mean`"; >= -1."""
        reach = mean - self._lower if side > 0 else self._upper - mean
        return np.maximum(side * (sums - mean * sizes) / (self._largest * reach), -1.0)

    def _capital(self, mean: float, side: int) -> float:
        """Logarithm of the largest capital so far against that hypothesis."""
        start, most = np.zeros(len(STAKES)), 0.0
        for first in range(0, len(self._sums), BLOCK):
            block = slice(first, first + BLOCK)
            path, start = _grown(start, self._payoffs(mean, side, self._sums[block], self._sizes[block]))
            most = max(most, float(path.max()))
        return most

    def _refuse(self, sums: Floats, sizes: Floats) -> None:
        if sums.ndim != 1 or sums.shape != sizes.shape:
            raise ValueError(f"sums of shape {sums.shape} and sizes of shape {sizes.shape}; wanted one of each a unit")
        if not ((sizes >= 1) & (sizes <= self._largest)).all():
            raise ValueError(f"sizes {sizes.min()} to {sizes.max()}; wanted 1 to largest_cluster, {self._largest}")
        slack = 1e-9 * sizes
        if not ((sums >= self._lower * sizes - slack) & (sums <= self._upper * sizes + slack)).all():
            raise ValueError(f"a unit's mean difference lies outside [{self._lower}, {self._upper}] or is not finite")


def _check(margin: float, levels: tuple[float, float], largest_cluster: int, lower: float, upper: float) -> None:
    if not lower < margin < upper:
        raise ValueError(f"margin {margin} is not inside the scale ({lower}, {upper})")
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels {levels} are not both between 0 and 1")
    if largest_cluster < 1:
        raise ValueError(f"largest_cluster {largest_cluster} is not at least 1")


def _grown(start: Floats, payoffs: Floats) -> tuple[Floats, Floats]:
    """Log capital after each unit, shape (k,), and that of each stake at the end, to go on from."""
    paths = start + np.cumsum(np.log1p(np.outer(payoffs, STAKES)), axis=0)
    best = paths.max(axis=1)
    return best + np.log(np.exp(paths - best[:, None]) @ SHARES), paths[-1]


def _first(path: Floats, level: float) -> int:
    """Index of the first unit at which the capital reaches 1/level; the path's length when it never does."""
    reached = np.flatnonzero(path >= -np.log(level))
    return int(reached[0]) if len(reached) else len(path)


def _refuted(capital: Callable[[float], float], near: float, far: float, level: float) -> float:
    """The mean farthest from `near` that is refuted; the capital falls as the mean goes to `far`."""
    refuted, kept = near, far
    while abs(kept - refuted) > 1e-6 * abs(far - near):
        middle = (refuted + kept) / 2
        if capital(middle) >= -np.log(level):
            refuted = middle
        else:
            kept = middle
    return refuted
