"""How numbers are written: scores, differences, shares of error, each in its unit."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records import ComparisonRecord, GateRecord, Interval

DASH = "–"
"""What stands where nothing was measured."""


@dataclass(frozen=True)
class Unit:
    """What a number counts: how it is scaled and how finely it is written."""

    name: str
    """Follows the number; empty for a plain score."""
    scale: float = 1.0
    """Shown is the record's number times this."""
    digits: int = 3

    def write(self, value: float | None, sign: bool = False) -> str:
        """`+6.0 points`, or a dash when it was not measured."""
        return self._bare(value, sign) if value is None else f"{self._bare(value, sign)} {self.name}".rstrip()

    def bracket(self, low: float | None, high: float | None, sign: bool = False) -> str:
        """`[+0.9, +11.5]`, a dash for an end that there is not, one dash where there is none."""
        if low is None and high is None:
            return DASH
        return f"[{self._bare(low, sign)}, {self._bare(high, sign)}]"

    def span(self, value: float | None, low: float | None, high: float | None, sign: bool = False) -> str:
        """`+6.0 points [+0.9, +11.5]`, or a dash when it was not measured."""
        if value is None:
            return DASH
        ends = "" if low is None and high is None else f" {self.bracket(low, high, sign)}"
        return self.write(value, sign) + ends

    def _bare(self, value: float | None, sign: bool) -> str:
        if value is None:
            return DASH
        scaled = round(value * self.scale, self.digits) + 0.0  # no minus before a zero
        return f"{scaled:{'+' if sign else ''},.{self.digits}f}"


SCORE = Unit("")
POINTS = Unit("points", scale=100, digits=1)
"""Hundredths of a score between 0 and 1: the unit of a difference of such scores."""
SECONDS = Unit("s")
TOKENS = Unit("tokens", digits=1)


def measure(metric: str) -> Unit | None:
    """The unit of a measure that every run has (latency, tokens, cost), None for a score."""
    if metric.startswith("latency"):
        return SECONDS
    if metric.startswith("tokens"):
        return TOKENS
    return Unit("per 1,000 requests", digits=4) if metric.startswith("cost") else None


def unit_of(comparison: ComparisonRecord) -> Unit:
    """The unit of a difference: points where both sides score between 0 and 1, else the metric itself."""
    means = (comparison.candidate_mean, comparison.reference_mean)
    share = comparison.higher_is_better and all(mean is not None and 0 <= mean <= 1 for mean in means)
    known = measure(comparison.metric)
    return known or (POINTS if share else Unit("" if comparison.metric == "primary" else comparison.metric))


def gate_unit(gate: GateRecord) -> Unit:
    """The unit of a gate: of its difference, or of the candidate's own value."""
    if gate.comparison is not None:
        return unit_of(gate.comparison)
    return measure(gate.metric) or (POINTS if gate.rule == "min_delta" else SCORE)


def number(value: float | None, digits: int = 3) -> str:
    """A score, or a dash when it was not measured."""
    return DASH if value is None else f"{value:.{digits}f}"


def percent(share: float) -> str:
    """`1.25 %`: three significant digits at most."""
    return f"{100 * share:.3g} %"


def span(interval: Interval | None) -> str:
    """A score with its interval, `0.742 [0.689, 0.789]`, or a dash."""
    return DASH if interval is None else SCORE.span(interval.value, interval.low, interval.high)


def basis(interval: Interval | None) -> str:
    """What an interval rests on: `95 % interval, n = 300, wilson`."""
    if interval is None:
        return DASH
    return f"{percent(interval.confidence)} interval, n = {interval.n:,}, {interval.method}"


def field(value: object) -> str:
    """The value of a setting: `0.000312`, `16`, a dash where it was not set."""
    if value is None:
        return DASH
    return f"{value:.3g}" if isinstance(value, float) else str(value)
