"""One gate at the first look under the default policy: false promotions, coverage, and how often it passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special, stats

from deciding.results import Result
from deciding.runs import evidence
from deciding.worlds import Floats, World
from harness.gates import Entrant, GateSpec, PolicySpec, decide, judge, level_at
from harness.stats import normal_quantile, pass_probability, tango_z

POLICY: Final = PolicySpec()
LEVEL: Final = level_at(POLICY, 0.0, 1)
MARGINS: Final = (-0.02, 0.0, 0.05)
DISCORDANCES: Final = (0.02, 0.1, 0.3)
SIZES: Final = (50, 200, 1000)
SMALL: Final = (10, 20, 30)
"""Coverage only."""
ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class GridCell:
    """One world; its trials are judged at every margin."""

    world: World
    scenario = "grid"

    @property
    def name(self) -> str:
        return f"grid | {self.world.name}"

    @property
    def cost(self) -> float:
        return self.world.n * (0.1 if self.world.kind == "real" else 0.02)

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        counts, known, attainable = Counter[str](), dict[bytes, list[str]](), 0.0
        for _ in range(trials):
            (ours,), theirs = self.world.draw(rng)
            at = self.world.signature(ours - theirs)
            outcomes = known.get(at) if at is not None else None
            if outcomes is None:
                outcomes = list(_outcomes(self.world, ours, theirs))
            if at is not None:
                known[at] = outcomes
            counts.update(outcomes)
            attainable += attainable_error(self.world, ours - theirs)
        return Result(trials, counts, {"attainable_error": attainable / trials})


@dataclass(frozen=True, slots=True)
class ForecastCell:
    """What preflight tells of one world before anything is run; nothing is simulated here."""

    world: World
    scenario = "forecast"

    @property
    def name(self) -> str:
        return f"forecast | {self.world.name}"

    @property
    def cost(self) -> float:
        return 1.0

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        design, truth = self.world.design, self.world.truth
        chances = {f"pass {margin:+g}": pass_probability(design, margin, truth, LEVEL) for margin in MARGINS}
        return Result(1, values=chances)


def _outcomes(world: World, ours: Floats, theirs: Floats) -> Iterator[str]:
    """Records in, verdicts out: at which margins it is promoted, and where the 95 % interval lies."""
    found = evidence(GateSpec(min_delta=0.0), ours, theirs, world.cluster)
    for margin in MARGINS:
        ((record,),), _ = judge(POLICY, [GateSpec(min_delta=margin)], [Entrant("tuned", LEVEL, [found])])
        if decide([record])[0] == "promote":
            yield f"promoted {margin:+g}"
    assert record.comparison is not None
    low, high = record.comparison.difference.low, record.comparison.difference.high
    assert low is not None
    assert high is not None
    yield "above" if low > world.truth + ROUNDING else "below" if high < world.truth - ROUNDING else "covered"


def attainable_error(world: World, differences: Floats, level: float = 0.05) -> float:
    """The most that a test of "equal" can err at `level` when it holds that given which units differ.

    Under equality each unit that differs is as likely up as down, so with k of them no chance is finer than 2^-k;
    for 0/1 scores only the number of gains counts (McNemar's exact test). Below six none can err at all.
    """
    sums = differences.reshape(-1, world.cluster).sum(axis=1)
    k = int(np.count_nonzero(sums))
    if world.kind == "0/1" and world.cluster == 1:
        tails = stats.binom.cdf(np.arange(k + 1), k, 0.5)
        return 2 * float(tails[tails <= level / 2].max(initial=0.0))
    return 2 * float(np.floor(level / 2 * 2.0**k) / 2.0**k) if k < 60 else level


def exact_coverage(world: World, confidence: float = 0.95) -> float:
    """Coverage of Tango's interval for independent 0/1 scores: the sum over all tables of gains and losses."""
    n, up, down = world.n, (world.discordance + world.lean) / 2, (world.discordance - world.lean) / 2
    gained, lost = np.ogrid[: n + 1, : n + 1]
    rest = np.maximum(n - gained - lost, 0)
    log = special.gammaln(n + 1) - special.gammaln(gained + 1) - special.gammaln(lost + 1) - special.gammaln(rest + 1)
    log = log + special.xlogy(gained, up) + special.xlogy(lost, down) + special.xlogy(rest, 1 - world.discordance)
    held = np.abs(tango_z(gained, lost, n, world.truth)) <= normal_quantile(confidence)
    return float(np.exp(log[held & (gained + lost <= n)]).sum())


def grid_cells() -> list[GridCell | ForecastCell]:
    """Every world in which the truth is possible."""
    cells: list[GridCell | ForecastCell] = []
    for n in (*SMALL, *SIZES):
        for discordance in DISCORDANCES:
            for truth in MARGINS:
                worlds = [World("0/1", n, discordance, truth), World("real", n, discordance, truth)]
                worlds += [World("0/1", n, discordance, truth, cluster=5, icc=icc) for icc in (0.0, 0.2, 0.5)]
                worlds = [world for world in worlds if world.possible]
                cells += [GridCell(world) for world in worlds]
                cells += [ForecastCell(world) for world in worlds if n in SIZES]
    return cells
