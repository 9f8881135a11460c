"""Chance that a claim about the recipe passes: the interval over seeds and items, before anything is run."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from harness.stats.design import Design
from harness.stats.power import detectable_difference

DRAWS = 20_000
"""Simulated experiments: a chance is known to a third of a point."""


def recipe_pass_probability(
    design: Design, margin: float, truth: float, level: float, *, seeds: int, seed_sd: float
) -> float:
    """Chance that the lower end of `recipe_interval` lies above the margin.

    seeds: trainings, at least 2. seed_sd: standard deviation of the true difference between trainings, in the
    metric's unit. The part of the items is taken as normal, with the half width that the design's own interval has;
    that of the seeds is simulated, t quantile and all. Raises ValueError for fewer than two seeds.
    """
    if seeds < 2:
        raise ValueError(f"{seeds} training seed: a claim about the recipe needs at least two")
    half = detectable_difference(design, margin, level, 0.5)
    if half is None:
        return 0.0
    items = half - margin
    rng = np.random.default_rng(0)
    effects = rng.normal(0, seed_sd, (DRAWS, seeds))
    common = rng.normal(0, items / -float(special.ndtri(level)), DRAWS)
    reach = float(special.stdtrit(seeds - 1, 1 - level)) * effects.std(axis=1, ddof=1) / math.sqrt(seeds)
    low = truth + common + effects.mean(axis=1) - np.hypot(items, reach)
    return float((low > margin).mean())
