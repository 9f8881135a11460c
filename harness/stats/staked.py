"""Chance that an early decision by betting passes before the items are used up: simulated, seeded."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.stats.design import Design
from harness.stats.sequences import SHARES, STAKES
from harness.stats.simulated import drawn

Floats = NDArray[np.float64]

TRIALS: Final = 500
"""Simulated sequences: a chance is known to two points; to three with the fewest."""
FEWEST_TRIALS: Final = 300
"""Of large designs; to save time."""
DRAWS: Final = 1_200_000
"""Differences simulated in all, from which on trials are saved."""
AT_ONCE: Final = 100
"""Sequences simulated at a time: bounds the memory."""
LOOKS: Final = 100
"""Times at which the capital is looked at; looking after every unit passes a point or two more often."""
STEPS: Final = 100
"""Payoffs are split between the ends of so many parts of their range: the capital is then a sum over counts."""
MOST_ITEMS: Final = 10_000
"""Simulated at most: k times as many show a difference as clearly as these show one sqrt(k) times as large."""


def staked_pass(design: Design, margin: float, truth: float, level: float) -> float:
    """Chance that `PairedSequence` passes at any time over the design's items, for scores in [0, 1].

    `design` must allow `truth` (`Design.allowing`). 0 for a margin at or outside the ends of the scale.
    """
    if not -1 < margin < 1:
        return 0.0
    if design.n > MOST_ITEMS:
        margin = max(truth - (truth - margin) * math.sqrt(design.n / MOST_ITEMS), -0.99)
        design = design.with_items(MOST_ITEMS)
    trials = min(max(DRAWS // design.n, FEWEST_TRIALS), TRIALS)
    rng, passed = np.random.default_rng(0), 0
    for start in range(0, trials, AT_ONCE):
        _, sums = drawn(design, truth, min(AT_ONCE, trials - start), rng)
        passed += int((_largest_capital(design, sums, margin) >= -math.log(level)).sum())
    return passed / trials


def _largest_capital(design: Design, sums: Floats, margin: float) -> Floats:
    """Logarithm of the largest capital against "mean <= margin" at any look, shape (trials,)."""
    trials, units = sums.shape
    paid = (sums - margin * design.sizes) / (design.sizes.max() * (margin + 1))
    most = (1 - margin) / (margin + 1)
    place = np.clip((paid + 1) / (most + 1) * STEPS, 0, STEPS - 1e-9)
    part = place.astype(np.intp)
    looks = np.arange(trials)[:, None] * LOOKS + np.arange(units) * LOOKS // units
    cells, share = (looks * (STEPS + 1) + part).ravel(), (place - part).ravel()
    counts = np.bincount(cells, 1 - share, trials * LOOKS * (STEPS + 1))
    counts += np.bincount(cells + 1, share, trials * LOOKS * (STEPS + 1))
    gains = np.log1p(np.outer(np.linspace(-1, most, STEPS + 1), STAKES))
    paths = (counts.reshape(-1, STEPS + 1) @ gains).reshape(trials, LOOKS, -1).cumsum(axis=1)
    best = paths.max(axis=2)
    return np.asarray((best + np.log(np.exp(paths - best[:, :, None]) @ SHARES)).max(axis=1))
