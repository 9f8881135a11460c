"""Bets against "nothing changed": conformal test martingales, which may be looked at every day for ever.

If a feature's values in production come from the same source as those of the reference, each new value's rank among
all before it (ties broken at random) is uniform and independent of the earlier ranks, for a reference of any size and
any distribution (Vovk, Gammerman, Shafer, 2022, Algorithmic Learning in a Random World, 2nd ed., chapter 8). Bettors
put fixed densities on these p-values; their capital is a nonnegative martingale, so the chance that it ever reaches
1/alpha is at most alpha (Ville's inequality), whatever the days of looking and the rule to stop. Between blocks a small
share of the capital is moved to all bettors, so that a change after long quiet is still found (the Simple Jumper:
Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman, 2021, Retrain or not retrain: conformal test martingales for
change-point detection, COPA). One bettor learns the density of earlier p-values (plug-in martingale: Fedorova,
Gammerman, Nouretdinov, Vovk, 2012, ICML).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Side = Literal["both", "lower", "higher"]

BLOCK: Final = 32
"""Values after which capital is moved and the learning bettor learns."""
JUMP: Final = 0.001
"""Share of the capital that is spread anew after a block."""
IDLE: Final = 0.5
"""Share of what is spread that is put aside and never bet."""
EIGHTHS: Final = 8
DISCOUNT: Final = 0.97
"""What an old p-value counts for the learning bettor after one more block."""
PRIOR: Final = 12.0
"""Imagined p-values in each eighth."""

_SLOPES: Final = (0.2, 0.5, 1.0)
_POWERS: Final = (0.5, 0.75)
_STEPS: Final = ((0.01, 0.02), (0.01, 0.05), (0.05, 0.05), (0.05, 0.2))
_SIDES: Final = {False: "lower", True: "higher"}


def _bettors(side: Side) -> list[tuple[float, float]]:
    """(slope, curve) of each density 1 + slope (2p - 1) + curve (3 (2p - 1)^2 - 1); the first bets nothing."""
    rising = [(slope, 0.0) for slope in _SLOPES] if side != "lower" else []
    falling = [(-slope, 0.0) for slope in _SLOPES] if side != "higher" else []
    curved = [(0.0, 0.25), (0.0, 0.5), (0.0, -0.25), (0.0, -0.5)] if side == "both" else []
    return [(0.0, 0.0), *rising, *falling, *curved]


def _tails(side: Side) -> list[tuple[float, bool]]:
    """(power, whether from above) of each density power * q^(power - 1), q = p or 1 - p: for what is rare."""
    return [(power, above) for power in _POWERS for above in (False, True) if side in ("both", _SIDES[above])]


def _steps(side: Side) -> tuple[tuple[float, float], ...]:
    """(width, stake) of each density 1 - stake + stake / width on the last part of that width; one-sided only."""
    return () if side == "both" else _STEPS


def size(side: Side) -> int:
    """Number of bettors, the learning one of `both` included."""
    return len(_bettors(side)) + len(_tails(side)) + len(_steps(side)) + (side == "both")


def _shares(side: Side) -> Floats:
    """How capital is spread over the bettors."""
    many = size(side)
    return np.concatenate([[IDLE], np.full(many - 1, (1 - IDLE) / (many - 1))])


@dataclass(frozen=True, slots=True)
class Bets:
    """Capital so far; leading dimensions are streams that are bet on alike."""

    side: Side
    capital: Floats
    """Natural logarithms, (..., bettors)."""
    histogram: Floats
    """Discounted counts of p-values, (..., EIGHTHS)."""
    most: Floats
    """The largest logarithm of the whole capital at the end of any block, (...)."""

    @classmethod
    def new(cls, side: Side, streams: tuple[int, ...] = ()) -> Bets:
        """One unit of capital in each stream."""
        spread = np.log(_shares(side))
        return cls(side, np.broadcast_to(spread, (*streams, len(spread))).copy(),
                   np.zeros((*streams, EIGHTHS)), np.zeros(streams))  # fmt: skip

    @property
    def log_e(self) -> Floats:
        """Natural logarithm of the whole capital, (...)."""
        return np.asarray(np.logaddexp.reduce(self.capital, axis=-1))

    def after(self, p: Floats) -> tuple[Bets, Floats]:
        """Capital after more p-values, shape (..., n), and its logarithm at the end of each block, (..., blocks)."""
        bets, path = self, []
        for start in range(0, p.shape[-1], BLOCK):
            bets = bets._block(p[..., start : start + BLOCK])
            path.append(bets.log_e)
        return bets, np.stack(path, axis=-1) if path else np.empty((*self.most.shape, 0))

    def _block(self, p: Floats) -> Bets:
        u = 2 * p - 1
        gains = [np.log1p(slope * u + curve * (3 * u**2 - 1)).sum(axis=-1) for slope, curve in _bettors(self.side)]
        for power, above in _tails(self.side):
            q = np.maximum(1 - p if above else p, 1e-12)
            gains.append((np.log(power) + (power - 1) * np.log(q)).sum(axis=-1))
        for width, stake in _steps(self.side):
            inside = p >= 1 - width if self.side == "higher" else p < width
            gains.append(np.log(1 - stake + np.where(inside, stake / width, 0.0)).sum(axis=-1))
        histogram = self.histogram
        if self.side == "both":
            at = np.minimum((p * EIGHTHS).astype(np.int64), EIGHTHS - 1)
            density = (histogram + PRIOR) * EIGHTHS / (histogram.sum(axis=-1, keepdims=True) + PRIOR * EIGHTHS)
            gains.append(np.log(np.take_along_axis(density, at, axis=-1)).sum(axis=-1))
            histogram = DISCOUNT * histogram + (at[..., None] == np.arange(EIGHTHS)).sum(axis=-2)
        capital = self.capital + np.stack(gains, axis=-1)
        whole = np.logaddexp.reduce(capital, axis=-1, keepdims=True)
        moved = np.logaddexp(np.log1p(-JUMP) + capital, np.log(JUMP) + whole + np.log(_shares(self.side)))
        return Bets(self.side, moved, histogram, np.maximum(self.most, whole[..., 0]))


def ranks(counts: Ints, bins: Ints, uniform: Floats) -> tuple[Floats, Ints]:
    """Smoothed conformal p-values of values one after another, and the counts after them.

    counts: (..., K) values so far by bin, low to high. bins: (..., n) the new values' bins. uniform: (..., n) in
    (0, 1), drawn without looking at the values.
    p = (lower + uniform * (equal, itself included)) / (all, itself included).
    """
    one = bins[..., None] == np.arange(counts.shape[-1])
    now = counts[..., None, :] + np.cumsum(one, axis=-2)
    equal = np.take_along_axis(now, bins[..., None], axis=-1)[..., 0]
    lower = np.take_along_axis(np.cumsum(now, axis=-1), bins[..., None], axis=-1)[..., 0] - equal
    p = (lower + uniform * equal) / now.sum(axis=-1)
    return p, (now[..., -1, :] if bins.shape[-1] else counts)
