"""Chance that the t interval with its variance floor, joined with BCa, lies above a margin: simulated, seeded."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.stats.bootstrap import BCA_MAX_UNITS
from harness.stats.design import Design
from harness.stats.robust import floor_weights

Floats = NDArray[np.float64]

TRIALS: Final = 2000
"""Simulated comparisons: a chance is known to about one point; to two points with the fewest."""
FEWEST_TRIALS: Final = 600
"""Of large designs; to save time."""
DRAWS: Final = 1_200_000
"""Differences simulated in all, from which on trials are saved."""
AT_ONCE: Final = 250_000
"""Differences simulated at a time: bounds the memory."""
LIMIT_FROM: Final = 60
"""Expected units with a difference from which the normal limit is within two points, and taken."""


def simulated_pass(design: Design, margin: float, truth: float, level: float) -> float:
    """Chance that the lower end of `paired_interval`, one-sided at `level`, lies above the margin.

    For real-valued scores and for clusters; a single cluster never passes. The bootstrap's end is taken from its
    second-order expansion instead of resampling (Efron 1987, JASA 82, 171-185; the bootstrap distribution of a mean
    by Cornish and Fisher). Many units: normal limit, without simulation.
    `design` must allow `truth` (`Design.allowing`).
    """
    if design.units < 2:
        return 0.0
    if design.n * design.discordance / design.effect >= LIMIT_FROM:
        return _limit(design, margin, truth, level)
    trials = min(max(DRAWS // design.n, FEWEST_TRIALS), TRIALS)
    rng, passed, done = np.random.default_rng(0), 0, 0
    while done < trials:
        count = min(max(AT_ONCE // design.n, 1), trials - done)
        passed += int((lower_ends(design, *drawn(design, truth, count, rng), level) > margin).sum())
        done += count
    return passed / trials


def lower_ends(design: Design, items: Floats, sums: Floats, level: float) -> Floats:
    """Lower ends of many comparisons of one design: shape (trials,).

    items: differences, shape (trials, n); sums: of each unit, shape (trials, units). As `joined_interval`
    computes it, for scores on a scale of width 1.
    """
    sizes, n = design.sizes.astype(np.float64), float(design.n)
    mean = sums.sum(axis=1) / n
    residuals = sums - mean[:, None] * sizes
    squares = residuals**2
    variance = squares @ (1 / (1 - sizes / n)) / n**2 + _floor(design, items, mean, squares.sum(axis=1), level)
    low = np.asarray(mean - float(special.stdtrit(_freedom(sizes), 1 - level)) * np.sqrt(variance))
    return np.minimum(low, _bca_low(mean, residuals, n, level)) if len(sizes) <= BCA_MAX_UNITS else low


def drawn(design: Design, truth: float, trials: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Differences and their sums by unit. Inside a cluster an item copies a shared value with chance sqrt(icc)."""
    u = rng.random((trials, design.n))
    if not design.clustered:
        items = _differences(design, truth, u)
        return items, items
    starts = np.concatenate([[0], np.cumsum(design.sizes)[:-1]])
    if design.icc > 0:
        shared = np.repeat(rng.random((trials, design.units)), design.sizes, axis=1)
        u = np.where(rng.random(u.shape) < math.sqrt(design.icc), shared, u)
    items = _differences(design, truth, u)
    return items, np.asarray(np.add.reduceat(items, starts, axis=1))


def _differences(design: Design, truth: float, u: Floats) -> Floats:
    """Differences with mean `truth` from uniform numbers: gains at the low end of u, losses at the high end."""
    lean = truth / design.mean_magnitude
    up, down = (design.discordance + lean) / 2, (design.discordance - lean) / 2
    x = np.zeros(u.shape)
    for share, sign, depth in ((up, 1.0, u), (down, -1.0, 1 - u)):
        hit = depth < share
        x[hit] = sign * (1.0 if design.binary else design.magnitudes(depth[hit] / share))
    return x


def _floor(design: Design, items: Floats, mean: Floats, between: Floats, level: float) -> Floats:
    """Variance of the pseudo-items of `joined_interval`, for each trial."""
    pseudo, prior = floor_weights(1 - 2 * level)
    total, typical = (items**2).sum(axis=1), design.typical
    square = (total + prior) / (np.count_nonzero(items, axis=1) + prior)
    within = total - design.n * mean**2 + prior * square * typical
    block = np.clip((between + prior * square * typical**2) / within, 1.0, typical)
    unseen = 1 - np.abs(items).max(axis=1)
    return np.asarray(np.maximum(pseudo * square, prior * unseen**2) * block**2 / design.n**2)


def _freedom(sizes: Floats) -> float:
    """Satterthwaite degrees of freedom of the CR2 variance; depends on the cluster sizes only."""
    n = sizes.sum()
    u = sizes**2 / (1 - sizes / n)
    return float(n**2 / ((sizes**2).sum() + (u.sum() ** 2 - (u**2).sum()) / n**2))


def _bca_low(mean: Floats, residuals: Floats, n: float, level: float) -> Floats:
    """Second-order expansion of BCa's lower end; acceleration and bias correction are the same for a mean."""
    second, third = (residuals**2).sum(axis=1), (residuals * residuals * residuals).sum(axis=1)  # power 3 is slow
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.nan_to_num(third / (6 * second**1.5))
    z = a + float(special.ndtri(level))
    w = a + z / (1 - a * z)
    return np.asarray(mean + np.sqrt(second) / n * (w + a * (w**2 - 1)))


def _limit(design: Design, margin: float, truth: float, level: float) -> float:
    """Normal limit of the mean; the interval's half width at its expected variance."""
    spread = math.sqrt(design.variance(truth) * design.effect / design.n)
    floor = floor_weights(1 - 2 * level)[0] * (design.size * design.effect / design.n) ** 2
    half = float(special.stdtrit(_freedom(design.sizes.astype(np.float64)), 1 - level)) * math.sqrt(spread**2 + floor)
    distance = truth - margin - half
    return float(special.ndtr(distance / spread)) if spread > 0 else float(distance > 0)
