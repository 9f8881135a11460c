"""The ways of finding a prompt: this project's race, its peers, and what needs no search."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from harness.chat import demonstration
from harness.prompts import SEARCHES, PromptSpec
from harness.prompts.meter import Arm, Meter, Spent
from harness.prompts.optimisers import concluded
from harness.prompts.searching import Field, Found
from harness.prompts.spec import Budget, Proposals
from harness.records import Item, Prompt

SHOTS = 8
"""Demonstrations of the single random draw."""
WRITTEN = 96
"""Tokens that gepa's reflection may write: room for an instruction, and bearable one at a time on a CPU."""
SIZES = (8, 16)
"""Demonstrations of the draws that random search compares, in turn."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way of finding a prompt."""

    name: str
    told: str
    """What it is, for the document."""
    search: str
    """Which searcher."""
    shots: tuple[int, ...] | None = None
    """`prompt.shots`, where it is not the default."""
    searches: bool = True
    """Whether it uses the budget; the others meet dev once, to be told of."""
    default: bool = True
    """Whether it is run without being named."""

    def spec(self, calls: int, seed: int) -> PromptSpec:
        """What the experiment's file would say; the bench's own searchers have no name there."""
        given: dict[str, Any] = {} if self.shots is None else {"shots": self.shots}
        if self.search == "gepa":
            given["proposals"] = Proposals(max_tokens=WRITTEN)
        spec = PromptSpec(budget=Budget(calls=calls), seed=seed, **given)
        return spec.model_copy(update={"search": self.search})


METHODS = (
    Method("raw", "the task's own instruction, nothing else", "bench raw", searches=False),
    Method("few_shot", f"{SHOTS} random train rows as demonstrations, one draw", "bench few_shot", searches=False),
    Method(
        "random",
        "the best on dev of as many random draws of 8 and 16 train rows as the budget buys",
        "bench random",
    ),
    Method("dspy", "DSPy's BootstrapFewShotWithRandomSearch", "dspy"),
    Method("gepa", f"gepa on the instruction, beside the same {SHOTS} random demonstrations", "gepa", shots=(SHOTS,)),
    Method("gepa_bare", "gepa on the instruction, without demonstrations", "gepa", shots=(0,), default=False),
    Method("race", "this project's race", "race"),
)
BY_NAME = {method.name: method for method in METHODS}


def raw(spec: PromptSpec, field: Field, meter: Meter) -> Found:
    """The raw prompt meets dev."""
    meter.ask(Arm(Prompt(name="raw", instruction=field.instruction), field.task.decoding, "raw"), field.order)
    return concluded(field, meter)


def few_shot(spec: PromptSpec, field: Field, meter: Meter) -> Found:
    """One draw meets dev."""
    meter.ask(_drawn(field, SHOTS, random.Random(spec.seed), "draw 1"), field.order)
    return concluded(field, meter)


def random_sets(spec: PromptSpec, field: Field, meter: Meter) -> Found:
    """Draw after draw meets all of dev, until the budget is spent."""
    rng = random.Random(spec.seed)
    try:
        for number in range(1, meter.budget + 1):
            meter.ask(_drawn(field, SIZES[number % len(SIZES) - 1], rng, f"draw {number}"), field.order)
    except Spent:
        pass
    return concluded(field, meter)


def _drawn(field: Field, count: int, rng: random.Random, name: str) -> Arm:
    rows: list[Item] = rng.sample(list(field.train.to_learn_from()), count)
    prompt = Prompt(
        name=f"{name}+{count}",
        instruction=field.instruction,
        demonstrations=tuple(demonstration(row) for row in rows),
        demonstration_ids=tuple(row.id for row in rows),
    )
    return Arm(prompt, field.task.decoding, "random")


SEARCHES.update({"bench raw": raw, "bench few_shot": few_shot, "bench random": random_sets})
