"""Many chances to be wrong: suites that an unchanged model may fail, finalists and looks that may pass by luck."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from deciding.results import Result
from deciding.runs import evidence
from deciding.worlds import World
from harness.gates import Entrant, Evidence, GateSpec, PolicySpec, choose, decide, judge, level_at
from harness.records import digest
from harness.store import Looks

SHARED: Final = 0.5
"""Correlation of the errors of candidates that were made in the same way."""
FINALISTS, LOOKS = 5, 20
KEPT: Final = (0.0, -0.02)
"""Margins of regression gates."""
POLICY: Final = PolicySpec()
SCHEDULES: Final = {
    "halving over 5": POLICY,
    "halving over 20": PolicySpec(looks=20),
    "even over 20": PolicySpec(looks=20, spending="even"),
}


def levels(policy: PolicySpec, looks: int) -> list[float]:
    """What each look at one test split may spend: candidates entered one by one into a real ledger."""
    with tempfile.TemporaryDirectory() as folder:
        ledger, questions = Looks(Path(folder)), [digest(i) for i in range(100)]
        return [
            ledger.take(
                "task", questions, digest(f"candidate {k}"), digest("the same gates"), candidate=f"candidate {k}",
                experiment=f"experiment {k}", alpha=policy.alpha, budget=policy.looks, spending=policy.spending,
                level=partial(level_at, policy),
            ).level
            for k in range(looks)
        ]  # fmt: skip


# ------------------------------------------------------------------------- suites


@dataclass(frozen=True, slots=True)
class SuitesCell:
    """An unchanged model under one regression gate a suite, at each margin: does any of them fail it?"""

    kind: str
    worlds: tuple[World, ...]
    scenario = "suites"

    @property
    def name(self) -> str:
        return f"suites | {len(self.worlds)}, {self.kind} | n {self.worlds[0].n}"

    @property
    def cost(self) -> float:
        return 10 + sum(world.n * (0.3 if world.kind == "real" else 0.1) for world in self.worlds)

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        counts, gates = Counter[str](), {margin: self._gates(margin) for margin in KEPT}
        for _ in range(trials):
            drawn = [(world.cluster, *world.draw(rng)) for world in self.worlds]
            found = [
                evidence(gate, ours, theirs, cluster)
                for gate, (cluster, (ours,), theirs) in zip(gates[0.0], drawn, strict=True)
            ]
            for margin in KEPT:
                (records,), _ = judge(POLICY, gates[margin], [Entrant("tuned", level_at(POLICY, 0.0, 1), found)])
                counts[f"failed {margin:+g}"] += any(record.outcome == "fail" for record in records)
        return Result(trials, counts)

    def _gates(self, margin: float) -> list[GateSpec]:
        return [GateSpec(suite=f"suite-{i}", min_delta=margin) for i in range(len(self.worlds))]


def _families(n: int) -> Iterator[tuple[str, tuple[World, ...]]]:
    few, some, many = (World("0/1", n, share) for share in (0.02, 0.1, 0.3))
    real = [replace(world, kind="real") for world in (some, many)]
    clustered = [replace(world, cluster=5, icc=icc) for world, icc in ((some, 0.2), (many, 0.2), (some, 0.5))]
    yield "0/1, 10 % differ", (some,) * 8
    yield "0/1, 30 % differ", (many,) * 8
    yield "0/1, real and clustered", (few, some, many, *real, *clustered)


# ---------------------------------------------------------------------- finalists


@dataclass(frozen=True, slots=True)
class FinalistsCell:
    """Several finalists, none better than the margin, judged together, each with its own look."""

    world: World
    scenario = "finalists"

    @property
    def name(self) -> str:
        return f"finalists | {FINALISTS} | {self.world.name}"

    @property
    def cost(self) -> float:
        return self.world.n * (1.5 if self.world.kind == "real" else 0.2)

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        gate, allowed, counts = GateSpec(min_delta=self.world.truth), levels(POLICY, FINALISTS), Counter[str]()
        for _ in range(trials):
            ours, theirs = self.world.draw(rng, FINALISTS, SHARED)
            entrants = [
                Entrant(f"finalist {k}", level, [evidence(gate, mine, theirs)])
                for k, (mine, level) in enumerate(zip(ours, allowed, strict=True))
            ]
            judged, _ = judge(POLICY, [gate], entrants)
            decisions = [decide(records)[0] for records in judged]
            counts["promoted"] += decisions[choose(decisions)] == "promote"
        return Result(trials, counts)


# -------------------------------------------------------------------------- looks


@dataclass(frozen=True, slots=True)
class LooksCell:
    """One candidate after another on one test split, none better than the margin, until one is promoted."""

    world: World
    scenario = "looks"

    @property
    def name(self) -> str:
        return f"looks | {LOOKS} | {self.world.name}"

    @property
    def cost(self) -> float:
        return 200 + self.world.n * 0.3

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        allowed = {name: levels(policy, LOOKS) for name, policy in SCHEDULES.items()}
        counts, gate = Counter[str](), GateSpec(min_delta=self.world.truth)
        for _ in range(trials):
            ours, theirs = self.world.draw(rng, LOOKS, SHARED)
            found = [evidence(gate, mine, theirs) for mine in ours]
            for name, policy in SCHEDULES.items():
                looks = zip(allowed[name], found, strict=True)
                counts[f"promoted {name}"] += any(_promoted(policy, gate, level, one) for level, one in looks)
        return Result(trials, counts, {f"spent {name}": sum(spent) for name, spent in allowed.items()})


def _promoted(policy: PolicySpec, gate: GateSpec, level: float, found: Evidence) -> bool:
    ((record,),), _ = judge(policy, [gate], [Entrant("tuned", level, [found])])
    return decide([record])[0] == "promote"


def family_cells() -> list[SuitesCell | FinalistsCell | LooksCell]:
    """All of the three."""
    suites = [SuitesCell(kind, worlds) for n in (100, 300) for kind, worlds in _families(n)]
    hard = [World("0/1", 200, 0.1), World("0/1", 200, 0.3, 0.05), World("0/1", 1000, 0.1, -0.02)]
    finalists = [FinalistsCell(world) for world in (*hard, World("real", 100, 0.3))]
    return [*suites, *finalists, *(LooksCell(world) for world in hard[:2])]
