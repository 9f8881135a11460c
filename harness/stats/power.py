"""Power: how likely a gate is to pass, before anything is run.

The chance is that of the very interval that the gate will use. Independent differences of -1, 0 and 1: the exact sum
over all tables of gains and losses for Tango's interval, up to `EXACT_UP_TO` items, its normal limit above. Anything
else: `simulated_pass`; early decisions: `staked_pass`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from harness.stats.design import Design
from harness.stats.score import Floats, tango_z
from harness.stats.simulated import simulated_pass
from harness.stats.staked import staked_pass

POWER = 0.8
"""Chance to pass that "enough items" stands for, where nothing else is asked."""
EXACT_UP_TO = 20_000
"""Items up to which tables are summed; the normal limit is within half a point above."""
MOST_ITEMS = 1_000_000
"""More items than anyone will collect; larger answers are None."""


def pass_probability(design: Design, margin: float, truth: float, level: float, *, early: bool = False) -> float:
    """Chance that the lower end of the gate's interval lies above the margin.

    margin, truth: mean difference asked for and true one, in the metric's unit. level: one-sided error of the
    lower end, in (0, 0.5). early: decided at any time, by betting (`PairedSequence`), on all items in the end.
    Where the design has too few or too small differences for `truth`, they are raised (`Design.allowing`).
    Raises ValueError for a level outside (0, 0.5), or |truth| > 1 with 0/1 scores.
    """
    if not 0 < level < 0.5:
        raise ValueError(f"level {level} is not in (0, 0.5)")
    if design.binary and not abs(truth) <= 1:
        raise ValueError(f"0/1 scores cannot differ by {truth}")
    return _chance(design, margin, truth, level, early)


def items_needed(
    design: Design, margin: float, truth: float, level: float, power: float = POWER, *, early: bool = False
) -> int | None:
    """Items for a chance of `power` to pass, to 2 % (5 % when early); None when `MOST_ITEMS` do not give it.

    Arguments as for `pass_probability`; the number of items in the design does not count, its clusters do.
    None for a truth at or below the margin. Negate both for the items that let a gate fail.
    """
    if truth - margin < 1e-9:
        return None

    def chance(n: float) -> float:
        return _chance(design.with_items(math.ceil(n)), margin, truth, level, early)

    guess = _item_variance(design, truth) * (_quantiles(level, power) / (truth - margin)) ** 2
    found = _least(chance, guess, power, 1.0, float(MOST_ITEMS), _precision(design, early))
    return None if found is None else math.ceil(found)


def detectable_difference(
    design: Design, margin: float, level: float, power: float = POWER, *, early: bool = False
) -> float | None:
    """Smallest true difference above the margin that passes with a chance of `power`; None when none up to 1 does.

    The discordance is raised to what the difference takes. To about 2 % of its distance from the margin.
    """

    def chance(distance: float) -> float:
        return _chance(design, margin, margin + distance, level, early)

    guess = _quantiles(level, power) * math.sqrt(_item_variance(design, margin) / design.n)
    found = _least(chance, guess, power, 1e-4, 1 - margin, _precision(design, early))
    return None if found is None else margin + found


def _chance(design: Design, margin: float, truth: float, level: float, early: bool) -> float:
    fitting = design.allowing(truth)
    if early:
        return staked_pass(fitting, margin, truth, level)
    if design.binary and not design.clustered:
        return _tango_pass(fitting.n, margin, truth, fitting.discordance, -float(special.ndtri(level)))
    return simulated_pass(fitting, margin, truth, level)


def _least(
    chance: Callable[[float], float], guess: float, power: float, least: float, most: float, precision: float
) -> float | None:
    """Least argument at which a chance that grows with it reaches `power`; None when `most` does not."""
    if most <= least:
        return None
    low = high = min(max(guess, least), most)
    step = 1.2
    while chance(high) < power:
        if high >= most:
            return None
        low, high, step = high, min(step * high, most), step**2
    while low == high > least:
        low, step = max(high / step, least), step**2
        if chance(low) >= power:
            high = low
    while high > (1 + precision) * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if chance(middle) >= power else (middle, high)
    return high


def _precision(design: Design, early: bool) -> float:
    """How finely to search: simulated chances are slower, and known to a point or two only."""
    return 0.05 if early else 0.02 if design.clustered or not design.binary else 0.005


def _quantiles(level: float, power: float) -> float:
    """Standard errors between margin and truth that give the power in the normal limit."""
    return float(special.ndtri(power) - special.ndtri(level))


def _item_variance(design: Design, truth: float) -> float:
    """Variance of one item's difference, clusters counted; never 0, as the gate's interval never is."""
    return max(design.allowing(truth).variance(truth) * design.effect, 1e-4 * design.size**2)


# ------------------------------------------------------------------------------- Tango


def _tango_pass(n: int, margin: float, truth: float, discordance: float, z: float) -> float:
    """Chance that Tango's statistic at the margin is above z."""
    up, down = (discordance + truth) / 2, (discordance - truth) / 2
    if n > EXACT_UP_TO:
        per_item, spread = float(tango_z(up, down, 1.0, margin)), math.sqrt(max(discordance - truth**2, 0.0))
        return _normal_chance(n, truth - margin, per_item, spread, z)
    gained, lost = _likely(n, up)[:, None], _likely(n, down)[None, :]
    rest = n - gained - lost
    possible = rest >= 0
    rest = np.where(possible, rest, 0)
    log = special.gammaln(n + 1) - special.gammaln(gained + 1) - special.gammaln(lost + 1) - special.gammaln(rest + 1)
    log = log + special.xlogy(gained, up) + special.xlogy(lost, down) + special.xlogy(rest, 1 - discordance)
    passes = possible & (tango_z(gained, lost, n, margin) > z)
    return min(float(np.exp(log[passes]).sum()), 1.0)


def _likely(n: int, share: float) -> Floats:
    """Counts within six standard deviations (and twenty) of their mean; the rest has no weight."""
    mean, reach = n * share, 6 * math.sqrt(max(n * share * (1 - share), 0.0)) + 20
    return np.arange(max(0, math.floor(mean - reach)), min(n, math.ceil(mean + reach)) + 1, dtype=np.float64)


def _normal_chance(n: int, distance: float, per_item: float, spread: float, z: float) -> float:
    """The limit of many items; `per_item`: Tango's statistic of the expected table, which grows with the root of n."""
    if abs(distance) < 1e-9:
        return 1 - float(special.ndtr(z))
    if spread == 0 or not math.isfinite(per_item):
        return float(per_item * math.sqrt(n) > z)
    null_spread = distance / per_item
    return float(special.ndtr((math.sqrt(n) * distance - z * null_spread) / spread))
