"""Power: how likely a gate on independent 0/1 scores is to pass, before anything is run.

The chance is that of Tango's interval itself, the one the gate will use: the exact sum over
all tables of gains and losses up to `EXACT_UP_TO` items, its normal limit above.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from harness.stats.score import Floats, normal_quantile, tango_z

POWER = 0.8
"""Chance to pass that "enough items" stands for."""
EXACT_UP_TO = 20_000
"""Items up to which tables are summed; the normal limit is within half a point above."""
MOST_ITEMS = 1_000_000
"""More items than anyone will collect; larger answers are None."""


def pass_probability(n: int, min_delta: float, truth: float, discordance: float, confidence: float = 0.95) -> float:
    """Chance that the lower end of Tango's interval over n items lies above min_delta.

    truth: true difference of the two shares; discordance: true share of items on which just one
    side is right. All as shares, not points. Raises ValueError unless n >= 1 and
    |truth| <= discordance <= 1.
    """
    if n < 1 or not abs(truth) <= discordance <= 1:
        raise ValueError(f"wanted n >= 1 and |truth| <= discordance <= 1, got {n}, {truth}, {discordance}")
    z, up, down = normal_quantile(confidence), (discordance + truth) / 2, (discordance - truth) / 2
    if n > EXACT_UP_TO:
        per_item, spread = _drift(min_delta, truth, discordance), math.sqrt(discordance - truth**2)
        return _normal_chance(n, truth - min_delta, per_item, spread, z)
    gained, lost = _likely(n, up)[:, None], _likely(n, down)[None, :]
    rest = n - gained - lost
    possible = rest >= 0
    rest = np.where(possible, rest, 0)
    log = special.gammaln(n + 1) - special.gammaln(gained + 1) - special.gammaln(lost + 1) - special.gammaln(rest + 1)
    log = log + special.xlogy(gained, up) + special.xlogy(lost, down) + special.xlogy(rest, 1 - discordance)
    passes = possible & (tango_z(gained, lost, n, min_delta) > z)
    return min(float(np.exp(log[passes]).sum()), 1.0)


def items_needed(
    min_delta: float, truth: float, discordance: float, confidence: float = 0.95, power: float = POWER
) -> int | None:
    """Items for a chance of `power` to pass, to about 2 %; None when `MOST_ITEMS` do not give it.

    Arguments as for `pass_probability`; None for a truth at or below min_delta. Negate both
    for the items that let a gate fail.
    """
    if truth - min_delta < 1e-9:
        return None

    def enough(n: int) -> bool:
        return pass_probability(n, min_delta, truth, discordance, confidence) >= power

    low, high = 0, 1
    while not enough(high):
        low, high = high, 2 * high
        if high > 2 * MOST_ITEMS:
            return None
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high <= MOST_ITEMS else None


def detectable_difference(
    n: int, min_delta: float, discordance: float, confidence: float = 0.95, power: float = POWER
) -> float | None:
    """Smallest true difference above min_delta that passes with a chance of `power`; None when none does.

    The discordance is raised to |difference| where that is larger. To 0.0001.
    """

    def chance(truth: float) -> float:
        return pass_probability(n, min_delta, truth, max(discordance, abs(truth)), confidence)

    low, high = min_delta, 1.0
    if low >= high or chance(high) < power:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if chance(middle) >= power else (middle, high)
    return high


def _likely(n: int, share: float) -> Floats:
    """Counts within six standard deviations (and twenty) of their mean; the rest has no weight."""
    mean, reach = n * share, 6 * math.sqrt(n * share * (1 - share)) + 20
    return np.arange(max(0, math.floor(mean - reach)), min(n, math.ceil(mean + reach)) + 1, dtype=np.float64)


def _drift(min_delta: float, truth: float, discordance: float) -> float:
    """Tango's statistic of the expected table, an item: it grows with the root of n."""
    return float(tango_z((discordance + truth) / 2, (discordance - truth) / 2, 1.0, min_delta))


def _normal_chance(n: int, distance: float, per_item: float, spread: float, z: float) -> float:
    if abs(distance) < 1e-9:
        return 1 - float(special.ndtr(z))
    if spread == 0 or not math.isfinite(per_item):
        return float(per_item * math.sqrt(n) > z)
    null_spread = distance / per_item
    return float(special.ndtr((math.sqrt(n) * distance - z * null_spread) / spread))
