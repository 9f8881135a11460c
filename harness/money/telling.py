"""Money in words: a line a contestant, a line a stage, and the prices that they rest on; the same for every view."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evidence import Evidence, number
from harness.money.breaking_even import break_evens
from harness.money.reckoning import Costs, Span, costs_of, prices_of, trainings
from harness.money.spending import money, so_far, spent
from harness.records import Price, PricesRecord


@dataclass(frozen=True, slots=True)
class Line:
    """One contestant's costs, written."""

    candidate: str
    per_1000: str
    basis: str
    """What a request's cost rests on, or why it is not known."""
    training: str
    hosting: str
    """A month of its own server; a dash where it needs none."""
    latency: str
    pays: str
    """From which monthly volume on it is cheaper than the best prompt; empty for prompts."""


def lines(evidence: Evidence) -> list[Line]:
    """Every contestant, in their order."""
    prices = prices_of(evidence)
    pays = {one.candidate: one.told for one in break_evens(evidence, prices)}
    return [_line(one, prices.currency, pays.get(one.name, "")) for one in costs_of(evidence, prices)]


def _line(one: Costs, currency: str, pays: str) -> Line:
    return Line(
        candidate=one.name,
        per_1000=money(one.per_1000, currency),
        basis=one.basis,
        training=money(one.training, currency),
        hosting=money(one.hosting, currency),
        latency=number(one.latency_s, 2),
        pays=pays,
    )


def stages(evidence: Evidence) -> list[tuple[str, str, str, str]]:
    """What each stage took: stage, time, tokens of a server elsewhere, cost; the whole last. Empty: not counted."""
    prices = prices_of(evidence)
    parts = spent(evidence.spent, prices)
    if not parts:
        return []
    made = [(part.stage, clock(part.seconds), _tokens(part.tokens_in, part.tokens_out),
             money(part.cost, prices.currency, cents=True)) for part in parts]  # fmt: skip
    seconds, cost = so_far(evidence, prices)
    read, written = sum(part.tokens_in for part in parts), sum(part.tokens_out for part in parts)
    return [*made, ("all", clock(seconds or 0.0), _tokens(read, written), money(cost, prices.currency, cents=True))]


def terms(evidence: Evidence) -> list[tuple[str, str]]:
    """The prices and what costs are spread over, as (what, value); one that is not known is not told."""
    return terms_of(prices_of(evidence))


def terms_of(prices: PricesRecord) -> list[tuple[str, str]]:
    """The same of prices that are there already."""
    named = {
        "an hour of the machine": prices.machine,
        "a million prompt tokens": prices.input,
        "a million generated tokens": prices.output,
        "a million prompt tokens of the tuned model": prices.tuned_input,
        "a million generated tokens of the tuned model": prices.tuned_output,
        "an hour of the tuned model's own server": prices.hosting,
    }
    made = [(what, _price(price)) for what, price in named.items() if price is not None]
    if made:
        made.append(("a training is paid off over", _spread(prices)))
    made += [("limit", told) for told in _limits(prices)]
    return made + [("note", note) for note in prices.notes]


def _price(price: Price) -> str:
    told = money(Span(price.middle, price.low, price.high), price.currency)
    dated = f" of {price.as_of}" if price.as_of else ""
    return f"{told} ({price.name}{dated}, {price.source})"


def _spread(prices: PricesRecord) -> str:
    again = trainings(prices)
    return f"{prices.months:g} months" + (f", {again:g} trainings in that time" if again > 1 else "")


def _limits(prices: PricesRecord) -> list[str]:
    made = [] if prices.max_hours is None else [f"{prices.max_hours:g} hours"]
    return made if prices.max_cost is None else [*made, f"{prices.max_cost:g} {prices.currency}".rstrip()]


def _tokens(read: int, written: int) -> str:
    return f"{read:,} / {written:,}" if read or written else "–"


def clock(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`: never more precise than a reader needs."""
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
