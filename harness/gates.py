"""Gates: signed rules over a comparison, the decision that follows, and what a gate can decide at all.

With the interval [low, high] of candidate minus reference: pass if low > min_delta, fail
if high < min_delta, otherwise inconclusive. Without evidence a gate never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field
from scipy import special

from harness.records import ComparisonRecord, Decision, GateRecord, Outcome, Record
from harness.stats import POWER, detectable_difference, items_needed, normal_quantile, pass_probability


class GateSpec(Record):
    """One signed gate, as it stands in the experiment file."""

    suite: str
    """Suite name; `task` for the experiment's own task."""
    metric: str | None = None
    """Metric to judge; default: each task's own first metric."""
    task: str = "*"
    """One task of the suite; `*` for all its items."""
    against: str = "base"
    """Whom the candidate must hold against: `base`, `best_prompt`, `production`, ..."""
    min_delta: Annotated[float, Field(ge=-1, le=1)]
    """The margin, in the metric's unit. 0.05: must gain five points; -0.01: may not lose more than one."""
    blocking: bool = True
    """Blocking gates decide; the others only inform."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Two-sided confidence of the interval; a pass errs with half of what is left."""
    max_unscored: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Largest share of items without a score at which the gate still decides."""


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


# ------------------------------------------------------------------------------ judging


def judge(gate: GateSpec, comparison: ComparisonRecord | None) -> GateRecord:
    """Apply a gate to its evidence.

    Inconclusive, whatever the interval says, when there is no comparison, no scored item or no
    interval, when more than `max_unscored` of the items have no score, and when every score on
    both sides is 0 (nothing can fall below 0, so not having lost shows nothing).
    Raises ValueError when the comparison is of another suite, task, metric or confidence.
    """
    if comparison is not None:
        _must_belong(gate, comparison)
    outcome, reason = _undecidable(gate, comparison), ""
    result: Outcome = "inconclusive"
    if comparison is not None and outcome is None:
        result, reason = _decide_interval(gate, comparison)
    return GateRecord(
        suite=gate.suite,
        task=gate.task,
        metric=comparison.metric if comparison else gate.metric or "primary",
        against=gate.against,
        min_delta=gate.min_delta,
        blocking=gate.blocking,
        outcome=result,
        reason=outcome or reason,
        comparison=comparison,
    )


def decide(gates: Sequence[GateRecord]) -> tuple[Decision, str]:
    """The decision over all gates, with its reason.

    reject when any blocking gate fails, promote when every blocking gate passes, else
    inconclusive; also without a single blocking gate: nothing was asked, so nothing passed.
    """
    blocking = [gate for gate in gates if gate.blocking]
    if not blocking:
        return "inconclusive", "No blocking gate was set, so nothing has been shown."
    named: dict[Outcome, list[str]] = {"pass": [], "fail": [], "inconclusive": []}
    for gate in blocking:
        named[gate.outcome].append(f"{gate.suite} against {gate.against}")
    if named["fail"]:
        return "reject", f"{_of(named['fail'], blocking)} failed: {'; '.join(named['fail'])}."
    if named["inconclusive"]:
        return "inconclusive", f"{_of(named['inconclusive'], blocking)} undecided: {'; '.join(named['inconclusive'])}."
    return "promote", f"{_of(named['pass'], blocking)} passed."


def _of(some: Sequence[str], blocking: Sequence[GateRecord]) -> str:
    return f"{len(some)} of {len(blocking)} blocking gates"


def _must_belong(gate: GateSpec, comparison: ComparisonRecord) -> None:
    wanted = (gate.suite, gate.task, gate.metric or "primary", gate.confidence)
    got = (comparison.suite, comparison.task, comparison.metric, comparison.difference.confidence)
    if got != wanted:
        raise ValueError(f"gate on (suite, task, metric, confidence) {wanted} was handed a comparison of {got}")


def _undecidable(gate: GateSpec, comparison: ComparisonRecord | None) -> str | None:
    """Why the evidence cannot decide anything, or None."""
    if comparison is None:
        return "There is no comparison, so nothing has been shown; evaluate both sides on this suite."
    difference, asked = comparison.difference, comparison.difference.n + comparison.unscored
    if difference.n == 0:
        return f"None of {asked} items has a score on both sides; see the errors on the samples."
    if comparison.unscored > gate.max_unscored * asked:
        share = comparison.unscored / asked
        return (
            f"{comparison.unscored} of {asked} items ({share:.1%}) have no score on one side, more than the "
            f"{gate.max_unscored:.1%} allowed; repair what failed and run again."
        )
    if comparison.won == comparison.lost == 0 and comparison.candidate_mean == comparison.reference_mean == 0:
        return (
            f"Every score is 0 on both sides over {difference.n} items: a score that never moves shows nothing; "
            "check the metric and the answers, or use items that one side gets right."
        )
    if difference.low is None or difference.high is None or difference.value is None:
        why = "every score is the same" if difference.method == "constant" else "all items belong to one cluster"
        return f"There is no interval over {difference.n} items: {why}; use items that vary and are independent."
    return None


def _decide_interval(gate: GateSpec, comparison: ComparisonRecord) -> tuple[Outcome, str]:
    d = comparison.difference
    value, low, high = d.value or 0.0, d.low or 0.0, d.high or 0.0
    show = _units(comparison)
    seen = (
        f"{show(value, True)} ({d.confidence:.0%} interval {show(low, False)} to {show(high, False)}, "
        f"n = {d.n}, {d.method})"
    )
    margin = show(gate.min_delta, False)
    if low > gate.min_delta:
        return "pass", f"Difference {seen}: all of the interval lies above the margin of {margin}."
    if high < gate.min_delta:
        return "fail", f"Difference {seen}: all of the interval lies below the margin of {margin}."
    return "inconclusive", f"Difference {seen}: the margin of {margin} lies inside; {_settles(gate, comparison)}."


def _units(comparison: ComparisonRecord) -> Callable[[float, bool], str]:
    """How to write a difference: in points where both means are shares, else as it is."""
    means = (comparison.candidate_mean, comparison.reference_mean)
    share = all(m is not None and 0 <= m <= 1 for m in means) and abs(comparison.difference.low or 0) <= 1
    if share:
        return lambda x, unit: f"{100 * x:+.1f}" + (" points" if unit else "")
    return lambda x, unit: f"{x:+.4g}"


def _settles(gate: GateSpec, comparison: ComparisonRecord) -> str:
    """What would settle an undecided gate, if the difference stays as seen."""
    d = comparison.difference
    value = d.value or 0.0
    above = value > gate.min_delta
    if d.method == "tango":
        # Half an item more on either side: none seen to differ does not mean that none can.
        discordance = max((comparison.won + comparison.lost + 1) / (d.n + 2), abs(value))
        side = 1 if above else -1
        needed = items_needed(side * gate.min_delta, side * value, discordance, gate.confidence)
    else:
        half = value - (d.low or 0.0) if above else (d.high or 0.0) - value
        gap, z = abs(value - gate.min_delta), normal_quantile(gate.confidence)
        ratio = half / gap * (1 + float(special.ndtri(POWER)) / z) if gap > 1e-9 else math.inf
        needed = math.ceil(d.n * ratio**2) if ratio < 1e4 else None
    if needed is None or needed > 1_000_000:
        return "no number of items would settle it: the estimate is at the margin"
    needed = max(needed, d.n + 1)
    return f"about {_rounded(needed)} items would settle it at the difference and variance seen"


def _rounded(count: int) -> str:
    """Two significant digits, upwards."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // step) * step:,}"


# -------------------------------------------------------------------------- forecasting


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
        text += f" At a true {_points(needed_at)}, {POWER:.0%} needs about {_rounded(needed)} items."
    return text


def _points(share: float) -> str:
    rounded = round(100 * share, 1)
    return f"{rounded:+.1f} points" if rounded else "0.0 points"
