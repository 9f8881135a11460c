"""What a gate demanded, what decided it, and how both are said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.evidence.numbers import DASH, POINTS, SCORE, Unit, gate_unit, measure, percent, unit_of
from harness.records import ComparisonRecord, GateRecord, Interval, Outcome, SliceOutcome

WORST_FIRST: tuple[Outcome, ...] = ("fail", "inconclusive", "pass")
GLYPHS: Mapping[Outcome, str] = {"pass": "●", "inconclusive": "◆", "fail": "■"}
"""Outcomes told by shape, so that colour is never needed."""


Ends = tuple[float | None, float | None, float | None]
"""Estimate, low end, high end."""


@dataclass(frozen=True)
class Bounds:
    """An estimate with the ends that decided. A difference is positive where the candidate is better."""

    unit: Unit
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    method: str
    levels: str
    """How sure the ends are, in words."""
    difference: bool = True
    """False for the candidate's own value."""
    less_is_better: bool = False
    """For latency, tokens, cost, perplexity."""
    of: str = ""
    """The slice that they are of, where the worst one decides."""
    to: str = ""
    """What the difference is to, where a relative margin scales the reference: `0.98 × base`."""

    @property
    def read(self) -> Ends:
        """As people read it: candidate minus reference, so the other way round where less is better."""
        if self.difference and self.less_is_better:
            return _minus(self.value), _minus(self.high), _minus(self.low)
        return self.value, self.low, self.high

    @property
    def shown(self) -> str:
        """`+6.0 points [+0.9, +11.5]`, or a dash; with the slice and the scaled reference where there are such."""
        found = self.unit.span(*self.read, sign=self.difference)
        return (f"{self.of}: " if self.of else "") + found + (f" to {self.to}" if self.to else "")

    @property
    def basis(self) -> str:
        """`95 % interval, n = 300, tango`."""
        parts = (self.levels, "" if self.n is None else f"n = {self.n:,}", self.method)
        return ", ".join(part for part in parts if part) or DASH


def gate_name(gate: GateRecord) -> str:
    """`task/intents exact_match [language=de] vs best_prompt`, with no more than the gate names."""
    if gate.rule == "must_not_break":
        return f"must not break {place(gate)}"
    metric = "" if gate.metric == "primary" else f" {gate.metric}"
    end = f"vs {gate.against}" if gate.rule == "min_delta" else _limit(gate)
    end += ", relative" if gate.relative else ""
    return f"{place(gate)}{metric}{f' [{gate.slice}]' if gate.slice else ''} {end}"


def place(gate: GateRecord) -> str:
    """Where the gate looks: `task`, or one task of a suite, or a file of items that must not break."""
    if gate.rule == "must_not_break":
        return Path(gate.suite).name
    return gate.suite if gate.task == "*" else f"{gate.suite}/{gate.task}"


def demand(gate: GateRecord) -> str:
    """What the gate demands, in words: `gain of at least 5 points over best_prompt`."""
    if gate.rule == "must_not_break":
        return f"every item of {place(gate)} right"
    if gate.rule != "min_delta":
        said = f"{_metric(gate)} {_limit(gate, unit=True)}"
    elif _less_is_better(gate):
        said = _decrease(gate)
    else:
        said = _gain(gate)
    return said + (f", {_where(gate.slice)}" if gate.slice else "")


def decided_by(gate: GateRecord) -> Bounds:
    """The estimate of a gate with the ends that decided it: of the worst slice where that one decides.

    Records of version 1 name no such ends; theirs is the plain interval.
    """
    estimate = gate.comparison.difference if gate.comparison else gate.estimate
    bounds = Bounds(
        unit=gate_unit(gate),
        value=estimate.value if estimate else None,
        low=gate.low,
        high=gate.high,
        n=estimate.n if estimate else None,
        method=estimate.method if estimate else "",
        levels=_levels(gate, estimate),
        difference=gate.rule == "min_delta",
        less_is_better=_less_is_better(gate),
        to=reference_name(gate) if gate.relative else "",
    )
    if gate.slices:
        worst = slices_worst_first(gate)[0]
        return replace(bounds, value=worst.value, low=worst.low, high=worst.high, n=worst.n, of=worst.slice)
    if gate.pass_level is None and estimate is not None:
        return replace(bounds, low=estimate.low, high=estimate.high)
    return bounds


def compared(comparison: ComparisonRecord) -> Bounds:
    """A comparison with its own interval, as no gate judged it."""
    found = comparison.difference
    return Bounds(
        unit=unit_of(comparison),
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        method=found.method,
        levels=f"{percent(found.confidence)} interval",
        less_is_better=not comparison.higher_is_better,
    )


def slice_bounds(gate: GateRecord, one: SliceOutcome) -> Bounds:
    """One slice of a gate, written like the gate."""
    return replace(decided_by(gate), value=one.value, low=one.low, high=one.high, n=one.n, of="")


def drawn_margin(gate: GateRecord) -> float | None:
    """Where the margin stands beside `Bounds.read`: at 0 for a relative one, which scales the reference."""
    if gate.rule != "min_delta" or gate.min_delta is None:
        return None
    margin = 0.0 if gate.relative else gate.min_delta
    return -margin + 0.0 if _less_is_better(gate) else margin


def threshold(gate: GateRecord) -> str:
    """What the ends are held against, as written: a signed margin, a limit, or `none` broken."""
    if gate.rule == "must_not_break":
        return "none broken"
    if gate.rule != "min_delta":
        return _limit(gate, unit=True)
    if gate.min_delta is None:
        return DASH
    if gate.relative:
        change = _change(gate)
        return f"{'+' if change > 0 else ''}{percent(change)} of {gate.against}"
    return gate_unit(gate).write(drawn_margin(gate), sign=True)


def reference_name(gate: GateRecord) -> str:
    """Whom the difference is against: `base`, or `0.98 × base` where the margin is relative."""
    factor = gate.comparison.factor if gate.comparison else 1.0
    return f"{gate.against}" if factor == 1.0 else f"{factor:g} × {gate.against}"


def evidence_shown(gate: GateRecord) -> str:
    """What was found, in short: the estimate with its ends, or how many items broke."""
    if gate.rule == "must_not_break":
        asked = "" if gate.estimate is None else f" of {gate.estimate.n:,}"
        return f"{len(gate.broken)}{asked} broken"
    return decided_by(gate).shown


def drawable(gates: Sequence[GateRecord]) -> dict[str, list[GateRecord]]:
    """Gates on a difference with both its ends, by unit: only what has one unit shares an axis."""
    groups: dict[str, list[GateRecord]] = {}
    for gate in gates:
        bounds = decided_by(gate)
        if gate.rule == "min_delta" and None not in (gate.min_delta, *bounds.read):
            groups.setdefault(bounds.unit.name, []).append(gate)
    return groups


def slices_worst_first(gate: GateRecord) -> list[SliceOutcome]:
    """The slices of a gate on the worst of them: failed ones first, else in the order in which they were judged."""
    return sorted(gate.slices, key=lambda one: WORST_FIRST.index(one.outcome))


def topic(gate: GateRecord) -> str:
    """What would be broken if the gate failed: a suite, a file, a slice, a measure."""
    failed = [one.slice for one in gate.slices if one.outcome == gate.outcome]
    cut = ", ".join(failed) or gate.slice or ""
    measured = gate.metric if measure(gate.metric) else ""
    where = "" if gate.suite == "task" and (measured or cut) else place(gate)
    return " ".join(part for part in (where, measured, cut) if part)


def _levels(gate: GateRecord, estimate: Interval | None) -> str:
    if gate.pass_level is None or gate.fail_level is None:
        return "" if estimate is None else f"{percent(estimate.confidence)} interval"
    if gate.pass_level == 0:
        return "no pass is left to this look"
    if math.isclose(gate.pass_level, gate.fail_level):
        return f"{percent(1 - 2 * gate.pass_level)} interval"
    low, high = gate.pass_level, gate.fail_level
    if gate.rule == "at_most" or _less_is_better(gate):
        low, high = high, low  # where less is better, it is the high end that has to hold for a pass
    return f"low end at {percent(low)}, high end at {percent(high)} one-sided"


def _metric(gate: GateRecord) -> str:
    return "score" if gate.metric == "primary" else gate.metric


def _where(cut: str) -> str:
    return f"worst slice of {cut.removeprefix('worst of ')}" if cut.startswith("worst of ") else f"slice {cut}"


def _limit(gate: GateRecord, unit: bool = False) -> str:
    name = f" {gate_unit(gate).name}".rstrip() if unit else ""
    return f"{gate.rule.replace('_', ' ')} {DASH if gate.limit is None else f'{gate.limit:g}'}{name}"


def _less_is_better(gate: GateRecord) -> bool:
    if gate.comparison is not None:
        return not gate.comparison.higher_is_better
    return gate_unit(gate) not in (POINTS, SCORE)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _amount(gate: GateRecord, change: float) -> str:
    if gate.relative:
        return percent(abs(change))
    unit = gate_unit(gate)
    amount = f"{abs(change) * unit.scale:.6g}"
    return f"{amount} {'point' if unit is POINTS and amount == '1' else unit.name}".rstrip()


def _change(gate: GateRecord) -> float:
    """The margin as a change of the reference's value: by its sign for a difference, by the factor if relative."""
    if gate.relative and gate.comparison is not None:
        return gate.comparison.factor - 1
    return gate.min_delta or 0.0


def _gain(gate: GateRecord) -> str:
    change = _change(gate)
    measured = "" if gate.metric == "primary" else f" in {gate.metric}"
    if change == 0:
        return f"better than {gate.against}{measured}"
    said = f"{'gain of at least' if change > 0 else 'may lose at most'} {_amount(gate, change)}"
    if gate.relative:
        return f"{said} of {gate.against}'s {_metric(gate)}"
    return f"{said} {'over' if change > 0 else 'against'} {gate.against}{measured}"


def _decrease(gate: GateRecord) -> str:
    """Where less is better, an absolute margin is a gain too, while a relative one scales the reference."""
    change = _change(gate) if gate.relative and gate.comparison is not None else -_change(gate)
    if change == 0:
        return f"{_metric(gate)} lower than {gate.against}'s"
    way = f"at least {_amount(gate, change)} lower" if change < 0 else f"at most {_amount(gate, change)} higher"
    return f"{_metric(gate)} {way} than {gate.against}'s"
