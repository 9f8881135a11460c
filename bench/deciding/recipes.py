"""Claims about a recipe: training seeds are random, and no recipe is better than the reference."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from deciding.families import SHARED
from deciding.results import Result
from deciding.runs import scored
from deciding.worlds import Floats, World
from harness.gates import Entrant, GateSpec, PolicySpec, decide, gather, judge, level_at

POLICY: Final = PolicySpec(claim="recipe")
GATE: Final = GateSpec(min_delta=0.0)


@dataclass(frozen=True, slots=True)
class RecipeCell:
    """Several trainings of one recipe that on average is as good as the reference."""

    world: World
    seeds: int
    spread: float
    """Standard deviation of a training's true difference, in standard errors that the items cause."""
    scenario = "recipe"

    @property
    def name(self) -> str:
        return f"recipe | {self.seeds} seeds, spread {self.spread:g} | {self.world.name}"

    @property
    def cost(self) -> float:
        return self.world.n * 0.2

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        counts = Counter[str]()
        item_error = math.sqrt(self.world.discordance / self.world.n)
        for _ in range(trials):
            effects = rng.normal(0.0, self.spread * item_error, self.seeds)
            counts["promoted"] += _promoted(*self.world.draw(rng, self.seeds, SHARED, effects))
        return Result(trials, counts)


def _promoted(ours: Floats, theirs: Floats) -> bool:
    trainings = [scored("tuned", row, seed=seed) for seed, row in enumerate(ours)]
    found = gather(GATE, trainings, scored("base", theirs), POLICY.claim, None)
    ((record,),), _ = judge(POLICY, [GATE], [Entrant("tuned", level_at(POLICY, 0.0, 1), [found])])
    return decide([record])[0] == "promote"


def recipe_cells() -> list[RecipeCell]:
    """Few and more seeds, all alike or as uncertain as the items."""
    return [
        RecipeCell(World("0/1", n, 0.1), seeds, spread) for n in (50, 200) for seeds in (3, 5) for spread in (0.0, 1.0)
    ]
