"""Applying gates: signed rules over a comparison, and the decision that follows.

With the interval [low, high] of candidate minus reference: pass if low > min_delta, fail
if high < min_delta, otherwise inconclusive. Without evidence a gate never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from scipy import special

from harness.gates.forecasting import rounded
from harness.gates.rules import GateSpec
from harness.records import ComparisonRecord, Decision, GateRecord, Outcome
from harness.stats import POWER, items_needed, normal_quantile, tango_interval

REPAIR: Final = (
    "look at the errors on those samples, repair what failed, and evaluate again under another experiment name"
)
"""What to do about unscored items: a finished run is never asked again."""


def judge(gate: GateSpec, comparison: ComparisonRecord | None) -> GateRecord:
    """Apply a gate to its evidence.

    Inconclusive, whatever the interval says, when there is no comparison, no scored item or no
    interval, when more than `max_unscored` of the items have no score, and when every score on
    both sides is 0 (nothing can fall below 0, so not having lost shows nothing). Also when a pass
    would not hold with every unscored item counted as the candidate's loss, or a fail with every
    one as its gain: items do not fail at random.
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
            f"{gate.max_unscored:.1%} allowed; {REPAIR}."
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
    if low <= gate.min_delta <= high:
        return "inconclusive", f"Difference {seen}: the margin of {margin} lies inside; {_settles(gate, comparison)}."
    passes = low > gate.min_delta
    reason = f"Difference {seen}: all of the interval lies {'above' if passes else 'below'} the margin of {margin}"
    reach = _reach(comparison, -1 if passes else 1)
    if reach > gate.min_delta if passes else reach < gate.min_delta:
        return ("pass" if passes else "fail"), f"{reason}."
    return "inconclusive", (
        f"{reason}, but {comparison.unscored} of {d.n + comparison.unscored} items have no score, and were they all "
        f"{'lost' if passes else 'won'} it would reach {show(reach, False)}; {REPAIR}."
    )


def _reach(comparison: ComparisonRecord, side: int) -> float:
    """How far the interval reaches when every unscored item is lost (side -1) or won (side 1) outright.

    For scores in [0, 1], where an item can differ by no more than 1. For 0/1 scores it is Tango's
    interval of the completed table. Else the variance of the mean of a mixture: that of the scored
    items as their interval shows it, and that of which items go unscored.
    """
    d, unscored = comparison.difference, comparison.unscored
    value, end = d.value or 0.0, (d.low if side < 0 else d.high) or 0.0
    if unscored == 0 or not _is_share(comparison):
        return end
    total = d.n + unscored
    if d.method == "tango":
        won, lost = comparison.won + unscored * (side > 0), comparison.lost + unscored * (side < 0)
        return tango_interval(won, lost, total, d.confidence)[0 if side < 0 else 1]
    share = unscored / total
    which = normal_quantile(d.confidence) ** 2 * share * (1 - share) * (side - value) ** 2 / total
    half = math.sqrt(((1 - share) * (end - value)) ** 2 + which)
    return max(-1.0, min(1.0, (1 - share) * value + side * (share + half)))


def _is_share(comparison: ComparisonRecord) -> bool:
    """Whether the scores lie in [0, 1], as far as the means and the interval tell."""
    means = (comparison.candidate_mean, comparison.reference_mean)
    return all(m is not None and 0 <= m <= 1 for m in means) and abs(comparison.difference.low or 0) <= 1


def _units(comparison: ComparisonRecord) -> Callable[[float, bool], str]:
    """How to write a difference: in points where both means are shares, else as it is."""
    if _is_share(comparison):
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
    return f"about {rounded(needed)} items would settle it at the difference and variance seen"
