"""Break-even: the monthly volume above which a tuned model is cheaper than the best prompt, with its range.

Prices and mean token counts may be uncertain. The volume is monotone in each of them, so its range is that over the
corners: every combination of their ends, a price that both sides pay moving for both at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harness.evidence import BAR, Contestant, Evidence, contestants, judged
from harness.money.reckoning import (
    Span,
    machine_seconds,
    prices_of,
    requests,
    span_of,
    token_means,
    token_prices,
    training_span,
    trainings,
)
from harness.records import PricesRecord, RunRecord

POINTS: Final = 41
"""Volumes of a curve."""


@dataclass(frozen=True, slots=True)
class Month:
    """What a month of one contestant costs: fixed, and for each request."""

    fixed: float
    """Its share of training; without hosting."""
    each: float
    """A request."""
    server: float = 0.0
    """One server of its own."""
    capacity: float | None = None
    """Requests that one server answers; None: one is reckoned with, whatever the volume."""

    def at(self, volume: float) -> float:
        """A month of so many requests."""
        servers = 1.0 if self.capacity is None else max(1.0, -(-volume // self.capacity))
        return self.fixed + volume * self.each + servers * self.server


def corners(evidence: Evidence, one: Contestant, bar: Contestant, prices: PricesRecord) -> list[tuple[Month, Month]]:
    """Months of a tuned contestant and of the best prompt at every corner of what is uncertain, the middle first.

    A price that both pay moves for both at once. Empty where one of them is not known.
    """
    mine, its = (contestant.runs.get("task") for contestant in (one, bar))
    if mine is None or its is None:
        return []
    free: dict[str, Span] = {
        name: span_of(price)
        for name in ("machine", "input", "output", "tuned_input", "tuned_output", "hosting")
        if (price := getattr(prices, name)) is not None
    }
    for side, run in (("mine", mine), ("its", its)):
        if (means := token_means(run)) is not None:
            free |= {f"{side}_in": means[0], f"{side}_out": means[1]}
    moving = [name for name, span in free.items() if span.low < span.high]
    made = [_months(evidence, one, mine, its, prices, {name: span.value for name, span in free.items()})]
    for ends in itertools.product(("low", "high"), repeat=len(moving)):
        at = {name: span.value for name, span in free.items()}
        at |= {name: getattr(free[name], end) for name, end in zip(moving, ends, strict=True)}
        made.append(_months(evidence, one, mine, its, prices, at))
    return [both for both in made if both is not None] if made[0] is not None else []


def _months(
    evidence: Evidence, one: Contestant, mine: RunRecord, its: RunRecord, prices: PricesRecord, at: Mapping[str, float]
) -> tuple[Month, Month] | None:
    """Both months where everything uncertain has the values `at`."""
    training = _training_at(evidence, one, prices, at)
    if training is None:
        return None
    fixed = training * trainings(prices) / prices.months
    prompt = _each(its, prices, at, "its", tuned=False)
    if prompt is None:
        return None
    if prices.hosting is not None:
        seconds = machine_seconds(mine)
        capacity = None if not seconds else prices.hosting_hours * 3600 / seconds
        own = Month(fixed, 0.0, at["hosting"] * prices.hosting_hours, capacity)
    elif (each := _each(mine, prices, at, "mine", tuned=True)) is not None:
        own = Month(fixed, each)
    else:
        return None
    return own, Month(0.0, prompt)


def _training_at(evidence: Evidence, one: Contestant, prices: PricesRecord, at: Mapping[str, float]) -> float | None:
    if "machine" in at and one.training is not None and one.training.managed is None:
        swept = evidence.sweep.seconds if evidence.sweep is not None else 0.0
        return at["machine"] * (one.training.seconds + swept) / 3600
    span = training_span(evidence, one, prices)
    return None if span is None else span.value


def _each(run: RunRecord, prices: PricesRecord, at: Mapping[str, float], side: str, tuned: bool) -> float | None:
    """One request; None where it is not known. Tokens where they have prices, else the machine's time."""
    both = token_prices(prices, tuned)
    if both is not None:
        if f"{side}_in" not in at:
            return None
        names = [f"tuned_{name}" if tuned and f"tuned_{name}" in at else name for name in ("input", "output")]
        return (at[f"{side}_in"] * at[names[0]] + at[f"{side}_out"] * at[names[1]]) / 1e6
    seconds = machine_seconds(run)
    return None if seconds is None or "machine" not in at else at["machine"] * seconds / 3600


# ----------------------------------------------------------------- break-even


def volume_of(own: Month, prompt: Month) -> float | None:
    """Requests a month above which `own` stays cheaper than `prompt`, which needs no server; None: never.

    0: it is cheaper from the first request on. With servers of a known capacity a new one is paid for whenever the
    last is full; told is the volume from which on that no longer matters.
    """
    saved, first = prompt.each - own.each, own.fixed + own.server
    if saved <= 0:
        return None
    if own.capacity is None or not own.server:
        return first / saved
    full = own.capacity * saved
    if full <= own.server:  # not even a full server pays for itself
        return None
    servers = max(1, math.ceil((own.fixed + full) / (full - own.server)) - 1)
    return (own.fixed + servers * own.server) / saved


@dataclass(frozen=True, slots=True)
class BreakEven:
    """When one tuned candidate pays against the best prompt."""

    candidate: str
    value: float | None
    """Requests a month at the middle of all prices; 0: at once; None: never, or not known."""
    low: float | None
    """At the prices that favour it most; None: never even then, or not known."""
    high: float | None
    """At those that favour it least; None: never then, or not known."""
    unknown: str = ""
    """Why it cannot be told; empty where it can."""

    @property
    def told(self) -> str:
        """In words: `about 12,300 requests a month [8,100 to 25,000]`, `at once`, `never`."""
        if self.unknown:
            return f"not known: {self.unknown}"
        if self.low is None:
            return "never: a request of it costs no less than one of the best prompt, whatever the volume"
        if self.value is None:
            return f"never at the middle of the prices; from {_count(self.low)} requests a month at the best of them"
        if not self.value and self.high == 0:
            return "at once: it is cheaper from the first request on"
        ends = f"{_count(self.low)} to {'never' if self.high is None else _count(self.high)}"
        known = self.high is not None and _count(self.low) == _count(self.high)
        return f"about {_count(self.value)} requests a month" + ("" if known else f" [{ends}]")


def break_even(evidence: Evidence, one: Contestant, prices: PricesRecord) -> BreakEven:
    """When a tuned contestant pays; see `BreakEven`."""
    bar = next((other for other in contestants(evidence) if other.name == BAR), None)
    found = [] if bar is None else corners(evidence, one, bar, prices)
    if not found:
        return BreakEven(one.name, None, None, None, _why(evidence, one, bar, prices))
    volumes = [volume_of(*both) for both in found]
    known = [volume for volume in volumes if volume is not None]
    high = max(known) if len(known) == len(volumes) else None
    return BreakEven(one.name, volumes[0], min(known, default=None), high)


def _why(evidence: Evidence, one: Contestant, bar: Contestant | None, prices: PricesRecord) -> str:
    if bar is None or one.runs.get("task") is None:
        return "one of the two was not asked"
    if training_span(evidence, one, prices) is None:
        return "its training has no price"
    sides = ((other, *requests(other.runs.get("task"), prices, other.seed is not None)) for other in (bar, one))
    return "; ".join(f"a request of {other.name}: {basis}" for other, span, basis in sides if span is None)


def break_evens(evidence: Evidence, prices: PricesRecord | None = None) -> list[BreakEven]:
    """One for every tuned contestant, in their order."""
    known = prices_of(evidence) if prices is None else prices
    return [break_even(evidence, one, known) for one in contestants(evidence) if one.seed is not None]


@dataclass(frozen=True, slots=True)
class Monthly:
    """A point of a curve: what a month of so many requests costs."""

    candidate: str
    volume: float
    cost: Span


def monthly(evidence: Evidence, one: Contestant, prices: PricesRecord) -> list[Monthly]:
    """Two curves over the volume, of the tuned contestant and of the best prompt; empty where they are not known."""
    bar = next((other for other in contestants(evidence) if other.name == BAR), None)
    found = [] if bar is None else corners(evidence, one, bar, prices)
    if not found:
        return []
    pays = break_even(evidence, one, prices)
    most = max(2 * (pays.value or pays.low or 0.0), 1.25 * (prices.volume or 0.0)) or 100_000.0
    made = []
    for name, side in ((BAR, 1), (one.name, 0)):
        for step in range(POINTS):
            volume = most * step / (POINTS - 1)
            costs = [both[side].at(volume) for both in found]
            made.append(Monthly(name, volume, Span(costs[0], min(costs), max(costs))))
    return made


def _count(volume: float) -> str:
    """Three significant digits, as a whole number: `12,300`."""
    if volume < 1000:
        return f"{math.ceil(volume):,}"
    digits = 2 - math.floor(math.log10(volume))
    return f"{round(volume, digits):,.0f}"


@dataclass(frozen=True, slots=True)
class Curve:
    """The break-even of the judged candidate, ready to be drawn."""

    points: list[Monthly]
    """The best prompt's curve, then the candidate's."""
    pays: BreakEven
    currency: str
    volume: float | None
    """Requests a month that are expected."""


def judged_curve(evidence: Evidence) -> Curve | None:
    """The curve of the candidate that the verdict speaks of, or else of the first tuned one; None: not known."""
    tuned = [one for one in contestants(evidence) if one.seed is not None]
    if not tuned:
        return None
    name, prices = judged(evidence), prices_of(evidence)
    one = next((one for one in tuned if one.name == name), tuned[0])
    points = monthly(evidence, one, prices)
    return Curve(points, break_even(evidence, one, prices), prices.currency, prices.volume) if points else None
