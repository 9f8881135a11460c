"""Which prompts enter the race: a spread over the dimensions first, then what the scores so far speak for.

The first generation holds the raw prompt, the baselines that it must beat, and the strongest combinations that are
known in advance, in the order in which they buy most. Each later one is chosen by a linear model of the scores over
the dimensions (Bayesian linear regression with independent normal priors; Bishop 2006, section 3.3), among the
neighbours of the leaders and the crossings of their values: by the upper end of what a prompt may score, as linear
bandits do (Li et al. 2010, "A contextual-bandit approach to personalized news article recommendation").
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.prompts.space import MOST_FEW, Recipe, Shown, Space

EFFECT_SD, ITEM_VARIANCE, ARM_VARIANCE = 0.15, 0.2, 0.0025
"""Prior spread of one value's effect; variance of one item's score; what the additive model leaves unexplained."""
OPTIMISM = 0.5
"""Standard deviations above the mean by which a prompt is judged before it is tried."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a recipe did so far."""

    score: float
    items: int


def first(space: Space) -> list[Recipe]:
    """All recipes of the first generation, most promising first; the raw prompt leads."""
    can = space.constraint_name != ""
    names = list(space.instructions)
    told = next((name for name in names if space.instructions[name].origin.startswith("rule: ")), "raw")
    given = [name for name in names if space.instructions[name].origin in ("yours", "proposed")]
    best = _shown(space, "nearest")
    few = _shown(space, "balanced") or _shown(space, "random")
    main = best or few
    made = [
        Recipe(),
        Recipe("raw", best, constrained=can),
        Recipe(told, main, constrained=can),
        Recipe("raw", few),
        Recipe("raw", best),
        *(Recipe(name, main, constrained=can) for name in given),
        Recipe(told, None, constrained=can),
        *(Recipe("raw", main, name, can) for name in space.templates if name.startswith("template ")),
        Recipe("raw", _shown(space, "documents")),
        Recipe("raw", _more(space, main), constrained=can),
        Recipe("raw", reasoning=True),
        Recipe("raw", main, next(name for name in list(space.templates)[::-1]), can),
        *(Recipe(name) for name in given),
        Recipe("raw", None, constrained=can),
        Recipe(told, few, constrained=can),
        Recipe("strict"),
        Recipe("silent", main, constrained=can),
    ]
    known = [recipe for recipe in made if recipe.instruction in space.instructions and space.allowed(recipe)]
    return list(dict.fromkeys(known))


def following(space: Space, seen: Mapping[Recipe, Seen], leaders: Sequence[Recipe], most: int) -> list[Recipe]:
    """The most promising recipes that were not tried, among the leaders' neighbours and crossings."""
    near = itertools.chain(*(neighbours(space, leader) for leader in leaders[:2]), crossings(leaders))
    new = [recipe for recipe in dict.fromkeys(near) if recipe not in seen and space.allowed(recipe)]
    hopes = promise(seen, new)
    order = sorted(range(len(new)), key=lambda at: (-hopes[at], at))
    return [new[at] for at in order[:most]]


def neighbours(space: Space, recipe: Recipe) -> Iterator[Recipe]:
    """All recipes that differ in one choice."""
    yield replace(recipe, constrained=not recipe.constrained)
    for other in space.shown():
        if recipe.shown is None or _near(recipe.shown, other):
            yield replace(recipe, shown=other, reasoning=False)
    yield replace(recipe, shown=None)
    for name in space.instructions:
        yield replace(recipe, instruction=name)
    for name in space.templates:
        yield replace(recipe, template=name)
    yield replace(recipe, reasoning=True, shown=None, constrained=False)


def _near(one: Shown, other: Shown) -> bool:
    """Whether two sets differ in one thing: kind, count or draw."""
    if one.kind == other.kind:
        return one.count == other.count or one.draw == other.draw
    return one.count == other.count and other.draw == one.draw


def crossings(leaders: Sequence[Recipe]) -> Iterator[Recipe]:
    """All combinations of the leaders' values."""
    columns = [
        dict.fromkeys(getattr(leader, name) for leader in leaders)
        for name in ("instruction", "shown", "template", "constrained", "reasoning")
    ]
    for values in itertools.product(*columns):
        yield Recipe(*values)


def promise(seen: Mapping[Recipe, Seen], new: Sequence[Recipe]) -> list[float]:
    """For each new recipe the upper end of the score that an additive model over the dimensions expects of it."""
    if not new or not seen:
        return [0.0] * len(new)
    values = sorted({value for recipe in (*seen, *new) for value in map(repr, recipe.values)})
    column = {value: at for at, value in enumerate(values)}

    def rows(recipes: Sequence[Recipe]) -> np.ndarray:
        matrix = np.zeros((len(recipes), len(values)))
        for at, recipe in enumerate(recipes):
            matrix[at, [column[value] for value in map(repr, recipe.values)]] = 1.0
        return matrix

    weights = 1 / (ITEM_VARIANCE / np.array([max(1, s.items) for s in seen.values()]) + ARM_VARIANCE)
    scores = np.array([s.score for s in seen.values()])
    centre = float(np.average(scores, weights=weights))
    known, unknown = rows(list(seen)), rows(new)
    covariance = np.linalg.inv((known.T * weights) @ known + np.eye(len(values)) / EFFECT_SD**2)
    mean = covariance @ ((known.T * weights) @ (scores - centre))
    spread = np.sqrt(np.einsum("ij,jk,ik->i", unknown, covariance, unknown))
    # Rounded: the last bits of a sum must not choose between equals.
    return [round(float(value), 9) for value in centre + unknown @ mean + OPTIMISM * spread]


def _shown(space: Space, kind: str) -> Shown | None:
    """The largest set of that kind that a first generation takes."""
    sets = [one for one in space.shown() if one.kind == kind and one.draw == 0]
    small = [one for one in sets if one.count <= MOST_FEW] or sets[:1]
    return max(small, key=lambda one: one.count, default=None)


def _more(space: Space, shown: Shown | None) -> Shown | None:
    """The next larger set of the same kind."""
    larger = [one for one in space.shown() if shown and one.kind == shown.kind and one.count > shown.count]
    return min((one for one in larger if one.draw == 0), key=lambda one: one.count, default=shown)
