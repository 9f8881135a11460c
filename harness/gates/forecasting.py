"""What a gate can decide with the items at hand, before anything is run."""

from __future__ import annotations

import math
from typing import Any, Final

from scipy import special

from harness.gates.rules import GateSpec
from harness.records import Record, Rule
from harness.stats import (
    POWER,
    Design,
    detectable_difference,
    items_needed,
    pass_probability,
    recipe_pass_probability,
)

MOST_SEEDS: Final = 20
"""More trainings than anyone will pay for."""
LEVEL: Final = 0.025
"""One-sided error of a pass at the first look under the default policy."""


class Forecast(Record):
    """What a gate can decide with n items, before anything is run. None: not forecast, or no such number."""

    gate: str
    """Name of the gate."""
    rule: Rule
    """Which rule it is."""
    suite: str
    """Suite name."""
    task: str
    """Task inside the suite, `*` for all."""
    slice: str | None
    """`name=value`; for a gate on the worst slice the one with the fewest items."""
    against: str | None
    """The reference; None for a rule without one."""
    min_delta: float | None
    """The signed margin, in the metric's unit; for a relative one what it comes to."""
    blocking: bool
    """Whether the gate decides."""
    level: float
    """One-sided chance of a wrong pass that it may spend."""
    power: float
    """Chance to pass that is asked for."""
    early: bool
    """Whether it is decided at any time, by betting, which takes more items when all are needed."""
    n: int
    """Items at hand."""
    clusters: int
    """Independent units among them: clusters, and items that stand alone."""
    discordance: float | None
    """Share of items on which the two sides differ; raised where a true difference takes more."""
    size: float | None
    """Root mean square of the differences that are not zero; 1 for 0/1 scores."""
    icc: float | None
    """Correlation of differences inside a cluster."""
    source: str
    """Where discordance, size and correlation come from."""
    detectable: float | None
    """Smallest true difference (for `at_least`: true score) that passes with the power; None when none does."""
    pass_if_equal: float | None
    """Chance to pass when the true difference is 0."""
    hoped_gain: float | None
    """The true difference that is hoped for."""
    pass_if_hoped: float | None
    """Chance to pass at it."""
    needed_at: float | None
    """The true difference that `decidable` and `items_needed` assume: the hoped-for one, else 0."""
    items_needed: int | None
    """Items for the power at it; None when a million do not give it."""
    seeds: int = 1
    """Training seeds that it is judged over; more than 1 for a claim about the recipe."""
    seed_sd: float | None = None
    """How far trainings are assumed to differ, as a standard deviation; None for an artifact."""
    seeds_needed: int | None = None
    """Seeds for the power at `needed_at` with the items at hand; None where `MOST_SEEDS` do not give it."""
    decidable: bool | None
    """Whether the chance to pass at `needed_at` is at least the power; None where nothing can be forecast."""
    summary: str
    """All this in a sentence or two."""


def forecast(
    gate: GateSpec, design: Design, *, level: float = LEVEL, power: float = POWER, hoped: float | None = None,
    source: str = "assumed", reference: float = 1.0, slice: str | None = None, early: bool = False,
) -> Forecast:  # fmt: skip
    """What a gate with a margin can decide on this design; touches no data and no model.

    level: one-sided error that a pass may spend; 0 when the test split is spent. power: chance to pass that is asked
    for. hoped: a true difference, in the metric's unit (0.05: five points); without it the gate is asked to pass a
    candidate that is truly equal. source: where the design's numbers come from, for the reader. reference: the
    reference's score, for a relative margin. slice: the items that the design speaks of.
    early: whether the evaluation may stop early (`PairedSequence`).
    Chances are those of the interval that the gate will use (`pass_probability`).
    Raises ValueError for a gate without a margin, or numbers out of range.
    """
    if gate.min_delta is None:
        raise ValueError(f"{gate.name}: a gate without min_delta compares with nothing")
    if not (0 <= level < 0.5 and 0 < power < 1 and -1 <= (hoped or 0) <= 1):
        raise ValueError(f"forecast wants level in [0, 0.5), power in (0, 1), hoped in [-1, 1]: {level, power, hoped}")
    margin = gate.min_delta * (reference if gate.relative else 1)
    at = 0.0 if hoped is None else hoped
    chances = {t: pass_probability(design, margin, t, level, early=early) if level else 0.0 for t in (0.0, at)}
    made = Forecast(
        **_of_gate(gate, design, level, power, slice, early),
        min_delta=margin,
        discordance=design.discordance,
        size=design.size,
        icc=design.icc if design.clustered else None,
        source=source,
        detectable=detectable_difference(design, margin, level, power, early=early) if level else None,
        pass_if_equal=chances[0.0],
        hoped_gain=hoped,
        pass_if_hoped=None if hoped is None else chances[at],
        needed_at=at,
        items_needed=items_needed(design, margin, at, level, power, early=early) if level else None,
        decidable=chances[at] >= power,
        summary="",
    )
    return made.model_copy(update={"summary": _summary(made)})


def over_seeds(made: Forecast, design: Design, seeds: int, seed_sd: float) -> Forecast:
    """The forecast of a gate with a margin for a claim about the recipe, over so many training seeds.

    seed_sd: how far the true differences of trainings lie apart, as a standard deviation in the metric's unit.
    """
    if made.min_delta is None or made.needed_at is None or made.level <= 0:
        return made
    margin, at = made.min_delta, made.needed_at

    def chance(truth: float, count: int) -> float:
        return recipe_pass_probability(design, margin, truth, made.level, seeds=count, seed_sd=seed_sd)

    needed = next((count for count in range(2, MOST_SEEDS + 1) if chance(at, count) >= made.power), None)
    here = chance(at, seeds)
    told = f"{made.summary} Over {seeds} seeds that differ by {100 * seed_sd:g} points: {_percent(here)}"
    told += (
        f"; about {needed} seeds give {made.power:.0%}." if needed else f"; {MOST_SEEDS} do not give {made.power:.0%}."
    )
    return made.model_copy(
        update={
            "seeds": seeds, "seed_sd": seed_sd, "seeds_needed": needed, "decidable": here >= made.power,
            "pass_if_equal": chance(0.0, seeds), "pass_if_hoped": None if made.hoped_gain is None else here,
            "detectable": None, "items_needed": None, "summary": told,
        }
    )  # fmt: skip


def forecast_score(
    gate: GateSpec, n: int, *, level: float = LEVEL, power: float = POWER, slice: str | None = None
) -> Forecast:
    """What an `at_least` gate on a share of right answers can decide on n independent items.

    It passes when the lower end of Wilson's interval lies above the limit: when at least k answers are right. The
    true share that gives the power is the quantile of Beta(k, n - k + 1) (Clopper and Pearson 1934, Biometrika 26).
    Raises ValueError for another rule, a limit outside [0, 1) or n < 1.
    """
    limit = gate.at_least
    if limit is None or not 0 <= limit < 1 or n < 1:
        raise ValueError(f"{gate.name}: wanted at_least in [0, 1) and n >= 1, got {limit} and {n}")
    z = math.inf if level <= 0 else -float(special.ndtri(level))
    short = n * limit + z * math.sqrt(n * limit * (1 - limit)) if limit else 0.0
    right = math.floor(short) + 1 if short < n else None
    least = None if right is None else float(special.betaincinv(right, n - right + 1, power))
    told = "no score passes" if right is None else f"it takes {right:,} right, for {power:.0%} a true {least:.1%}"
    return Forecast(
        **_of_gate(gate, Design(n, 0.0), level, power, slice),
        **_unknown("counting answers as right or wrong, and as independent"),
        detectable=least,
        decidable=right is not None,
        summary=f"With {n:,} items and a limit of {limit:.1%}, {told}.",
    )


def no_forecast(gate: GateSpec, design: Design, why: str, *, level: float = LEVEL, power: float = POWER) -> Forecast:
    """A gate of which nothing can be told before it is run. why: a sentence, for the reader."""
    return Forecast(
        **_of_gate(gate, design, level, power, gate.slice),
        **_unknown("not forecast"),
        detectable=None,
        decidable=None,
        summary=why,
    )


def _of_gate(
    gate: GateSpec, design: Design, level: float, power: float, slice: str | None, early: bool = False
) -> dict[str, Any]:
    return {
        "gate": gate.name, "rule": gate.rule, "suite": gate.suite, "task": gate.task, "slice": slice or gate.slice,
        "against": gate.against if gate.rule == "min_delta" else None, "blocking": gate.blocking, "level": level,
        "power": power, "early": early, "n": design.n, "clusters": design.units,
    }  # fmt: skip


def _unknown(source: str) -> dict[str, Any]:
    names = ("min_delta", "discordance", "size", "icc", "pass_if_equal", "hoped_gain", "pass_if_hoped", "needed_at")
    return {**dict.fromkeys((*names, "items_needed")), "source": source}


# ------------------------------------------------------------------------------- words


def _summary(made: Forecast) -> str:
    """The forecast in words."""
    margin, at = made.min_delta or 0.0, made.needed_at or 0.0
    if made.level <= 0:
        return "This test split is spent: no look at it may pass any more; judge on a fresh one."
    text = f"With {_items(made)} and a margin of {_points(margin)}, "
    text += f"an equal candidate passes with a chance of {_percent(made.pass_if_equal)}"
    if made.hoped_gain is not None:
        text += f", one that is truly {_points(at)} with {_percent(made.pass_if_hoped)}"
    least = "no true difference does" if made.detectable is None else f"it takes a true {_points(made.detectable)}"
    text += f"; for {made.power:.0%} {least}."
    if at <= margin + 1e-9:
        return f"{text} No number of items lets a true {_points(at)} pass {made.power:.0%} of the time."
    if made.items_needed is None:
        return f"{text} At a true {_points(at)}, not even a million items give {made.power:.0%}."
    return f"{text} At a true {_points(at)}, {made.power:.0%} needs about {rounded(made.items_needed)} items."


def _items(made: Forecast) -> str:
    together = f" in {made.clusters:,} clusters" if made.clusters < made.n else ""
    share = f"{100 * (made.discordance or 0):.2g}%"
    how = "right on one side only" if made.size == 1 else f"differing, by {_points(made.size or 0)[1:]} or so"
    return f"{made.n:,} items{together}, {share} of them {how},"


def _percent(share: float | None) -> str:
    """A chance; never 0 % or 100 %, which it never is."""
    whole = 100 * (share or 0.0)
    return "less than 1%" if whole < 0.5 else "more than 99%" if whole > 99.5 else f"{whole:.0f}%"


def _points(share: float) -> str:
    shown = round(100 * share, 1)
    return f"{shown:+.1f} points" if shown else "0.0 points"


def rounded(count: int) -> str:
    """Two significant digits, upwards."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // step) * step:,}"
