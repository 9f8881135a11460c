"""What a gate can decide with n items, before anything is run."""

from __future__ import annotations

from harness.gates.rules import GateSpec
from harness.records import Record
from harness.stats import POWER, detectable_difference, items_needed, pass_probability


class Forecast(Record):
    """What a gate can decide with n items, before anything is run. For independent 0/1 scores."""

    suite: str
    """Suite name."""
    task: str
    """Task inside the suite, `*` for all."""
    against: str
    """The reference."""
    min_delta: float
    """The signed margin."""
    confidence: float
    """Of the gate's interval."""
    n: int
    """Items at hand."""
    discordance: float
    """Assumed share of items on which just one side is right; raised to |true difference| where that is larger."""
    detectable: float | None
    """Smallest true difference that passes with 80 %; None when none does."""
    pass_if_equal: float
    """Chance to pass when the true difference is 0."""
    hoped_gain: float | None
    """The true difference that is hoped for."""
    pass_if_hoped: float | None
    """Chance to pass at it."""
    needed_at: float | None
    """The true difference that `items_needed` assumes: the hoped-for one, else 0 for a gate that allows a loss."""
    items_needed: int | None
    """Items for a chance of 80 % at it; None when a million do not give it, or there is no `needed_at`."""
    summary: str
    """All this in a sentence or two."""


def forecast(gate: GateSpec, n: int, *, discordance: float = 0.1, hoped_gain: float | None = None) -> Forecast:
    """What the gate can decide with n items; touches no data and no model.

    n: items, at least 1. discordance: assumed share of items on which just one side is right,
    in [0, 1]. hoped_gain: a true difference in [-1, 1], in the metric's unit (0.05: five points).
    Chances are those of Tango's interval, the one that the gate will use for independent 0/1
    scores; clustered items need more. Raises ValueError outside these ranges.
    """
    if n < 1 or not 0 <= discordance <= 1 or not -1 <= (hoped_gain or 0) <= 1:
        raise ValueError(
            f"forecast wants n >= 1, shares and differences of at most 1: {n}, {discordance}, {hoped_gain}"
        )

    def chance(truth: float) -> float:
        return pass_probability(n, gate.min_delta, truth, max(discordance, abs(truth)), gate.confidence)

    needed_at = hoped_gain if hoped_gain is not None else (0.0 if gate.min_delta < 0 else None)
    needed = None
    if needed_at is not None:
        needed = items_needed(gate.min_delta, needed_at, max(discordance, abs(needed_at)), gate.confidence)
    detectable, equal = detectable_difference(n, gate.min_delta, discordance, gate.confidence), chance(0.0)
    hoped = None if hoped_gain is None else chance(hoped_gain)
    return Forecast(
        suite=gate.suite,
        task=gate.task,
        against=gate.against,
        min_delta=gate.min_delta,
        confidence=gate.confidence,
        n=n,
        discordance=discordance,
        detectable=detectable,
        pass_if_equal=equal,
        hoped_gain=hoped_gain,
        pass_if_hoped=hoped,
        needed_at=needed_at,
        items_needed=needed,
        summary=_summary(n, discordance, gate.min_delta, equal, detectable, hoped_gain, hoped, needed_at, needed),
    )


def _summary(
    n: int, discordance: float, min_delta: float, equal: float, detectable: float | None,
    hoped_gain: float | None, hoped: float | None, needed_at: float | None, needed: int | None,
) -> str:  # fmt: skip
    """The forecast in words."""
    text = (
        f"With {n:,} items, {discordance:.0%} of them right on one side only, and a margin of {_points(min_delta)}, "
        f"an equal candidate passes with a chance of {equal:.0%}"
    )
    if hoped_gain is not None and hoped is not None:
        text += f", one that is truly {_points(hoped_gain)} with {hoped:.0%}"
    least = "no true difference does" if detectable is None else f"it takes a true {_points(detectable)}"
    text += f"; for {POWER:.0%} {least}."
    if needed_at is not None and needed is None:
        text += f" No number of items gives {POWER:.0%} at a true {_points(needed_at)}."
    elif needed_at is not None and needed is not None:
        text += f" At a true {_points(needed_at)}, {POWER:.0%} needs about {rounded(needed)} items."
    return text


def _points(share: float) -> str:
    rounded = round(100 * share, 1)
    return f"{rounded:+.1f} points" if rounded else "0.0 points"


def rounded(count: int) -> str:
    """Two significant digits, upwards."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // step) * step:,}"
