"""Evaluations that stop as soon as their gate is decided: items used, and false promotions."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from deciding.grid import LEVEL, POLICY
from deciding.results import Result
from deciding.runs import METRIC, TASK, cluster_of, item_id, scored
from deciding.worlds import World
from harness.compare import Scored
from harness.evaluate import batches
from harness.gates import Entrant, GateSpec, decide, gather, judge
from harness.gates.watching import GateWatch
from harness.records import Decoding, EarlyStop, Item, SampleRecord
from harness.stats import Design, items_needed
from harness.suites import Suite, Task

SEED: Final = 0
"""Of the order in which items are asked."""


@dataclass(frozen=True)
class EarlyCell:
    """One gate on a suite of which no more is asked than it takes to decide it."""

    world: World
    margin: float
    hoped: float | None = None
    """The true difference for which the suite was sized; None where the candidate is at the margin."""
    scenario = "early"

    @property
    def name(self) -> str:
        return f"early | margin {self.margin:+g} | {self.world.name}"

    @property
    def cost(self) -> float:
        return self.world.n * 0.3

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        """Without a hope the candidate is at the margin, and whether it is promoted is all that counts."""
        counts, used = Counter[str](), []
        for _ in range(trials if self.hoped is None else max(trials // 8, 1)):
            (ours,), theirs = self.world.draw(rng)
            decision, asked = self.decided(
                scored("tuned", ours, self.world.cluster), scored("base", theirs, self.world.cluster)
            )
            counts[decision] += 1
            used.append(asked)
        quartiles = dict(zip(("q1", "median", "q3"), np.quantile(used, (0.25, 0.5, 0.75)).tolist(), strict=True))
        return Result(len(used), counts, quartiles | self._fixed())

    def decided(self, candidate: Scored, reference: Scored) -> tuple[str, int]:
        """Decision and items asked.

        Bets that have refuted a mean never take it back, so a decided gate stays decided: the first look that
        decides is found by bisection.
        """
        gate = GateSpec(min_delta=self.margin)
        watch = GateWatch(POLICY, [gate], [reference], LEVEL, 1, SEED)
        run, samples = candidate
        places = self.prefixes

        def answered(look: int) -> list[SampleRecord]:
            return [samples[i] for i in places[look]]

        last = len(places) - 1
        early = last > 0 and watch.is_decided(answered(last - 1))
        look = bisect_left(range(last), True, key=lambda at: watch.is_decided(answered(at))) if early else last
        asked = answered(look)
        stopped = EarlyStop(method=watch.method, asked=len(asked), of=self.world.n, seed=SEED)
        run = run.model_copy(update={"n": len(asked), "stopped": stopped})
        found = gather(gate, [(run, asked)], reference, POLICY.claim, None)
        ((record,),), _ = judge(POLICY, [gate], [Entrant("tuned", LEVEL, [found])])
        return decide([record])[0], len(asked)

    @cached_property
    def prefixes(self) -> list[list[int]]:
        """Items asked by each look, first look first: the batches of a real evaluation."""
        items = tuple(
            Item(id=item_id(i), target="", cluster=cluster_of(i, self.world.cluster)) for i in range(self.world.n)
        )
        suite = Suite("task", "task", "test", (Task(TASK, "generate", items, (METRIC,), Decoding()),))
        watch = GateWatch(POLICY, [], [], LEVEL, 1, SEED)
        asked, prefixes = list[int](), []
        for batch in batches(suite, watch):
            asked = asked + [int(item.id) for _, part in batch for item in part]
            prefixes.append(asked)
        return prefixes

    def _fixed(self) -> dict[str, float]:
        """Items that a gate with a fixed n needs at the same level, for the hoped-for and for the true difference."""
        if self.hoped is None:
            return {}
        return {
            f"fixed {name} {power:g}": _fixed_n(self.world.discordance, self.margin, truth, power)
            for name, truth in (("hoped", self.hoped), ("true", self.world.truth))
            for power in (0.8, 0.9, 0.99)
        }


def _fixed_n(discordance: float, margin: float, truth: float, power: float) -> int:
    found = items_needed(Design(1000, discordance), margin, truth, LEVEL, power)
    assert found is not None
    return found


def early_cells() -> list[EarlyCell]:
    """At the margin; then suites sized for 90 % power at the hoped-for difference, and truths from there upwards."""
    at_margin = [World("0/1", 500, 0.1), World("0/1", 500, 0.3, 0.05), World("0/1", 500, 0.1, -0.02)]
    at_margin += [World("real", 500, 0.3), World("0/1", 500, 0.1, cluster=5, icc=0.2)]
    cells = [EarlyCell(world, world.truth) for world in at_margin]
    for discordance, margin, hoped, truths in ((0.2, 0.0, 0.05, (0.05, 0.075, 0.1, 0.15)),
                                               (0.1, -0.02, 0.0, (0.0, 0.02, 0.04))):  # fmt: skip
        n = _fixed_n(discordance, margin, hoped, 0.9)
        cells += [EarlyCell(World("0/1", n, discordance, truth), margin, hoped) for truth in truths]
    return cells
