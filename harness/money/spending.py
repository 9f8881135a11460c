"""What an experiment has cost so far, by stage: its machine's hours, and tokens that a server elsewhere answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.evidence import Evidence
from harness.money.reckoning import Span, span_of
from harness.records import PricesRecord, SpendingRecord, TrainingRecord


@dataclass(frozen=True, slots=True)
class Spent:
    """What one stage took, over all sittings."""

    stage: str
    seconds: float
    tokens_in: int
    tokens_out: int
    cost: Span | None
    """None where its hours, or its tokens, have no price."""


def spent(lines: Iterable[SpendingRecord], prices: PricesRecord) -> list[Spent]:
    """Every stage that took something, in the order in which they began."""
    by_stage: dict[str, list[SpendingRecord]] = {}
    for line in lines:
        if line.seconds or line.tokens_in or line.tokens_out:
            by_stage.setdefault(line.stage, []).append(line)
    made = []
    for stage, own in by_stage.items():
        seconds, read, written = (
            sum(getattr(line, name) for line in own) for name in ("seconds", "tokens_in", "tokens_out")
        )
        made.append(Spent(stage, seconds, int(read), int(written), _cost(seconds, int(read), int(written), prices)))
    return made


def _cost(seconds: float, read: int, written: int, prices: PricesRecord) -> Span | None:
    """Hours at the machine's price, and tokens at the server's. Where a server answers all, hours may go unpriced."""
    tokens: Span | None = None
    if read or written:
        if prices.input is None or prices.output is None:
            return None
        tokens = span_of(prices.input).times(read / 1e6).and_(span_of(prices.output).times(written / 1e6))
    if prices.machine is not None:
        hours = span_of(prices.machine).times(seconds / 3600)
        return hours if tokens is None else hours.and_(tokens)
    if tokens is None and prices.input is not None and prices.output is not None:
        return Span(0.0, 0.0, 0.0)  # everything is paid by the token, and there were none
    return tokens


def whole(parts: Sequence[Spent]) -> Span | None:
    """The cost of all stages; None where one has none, or there are none."""
    total = Span(0.0, 0.0, 0.0)
    for part in parts:
        if part.cost is None:
            return None
        total = total.and_(part.cost)
    return total if parts else None


def so_far(evidence: Evidence, prices: PricesRecord) -> tuple[float | None, Span | None]:
    """Seconds and cost of an experiment so far; None where they were not counted."""
    parts = spent(evidence.spent, prices)
    if not parts:
        return None, None
    cost, asked = whole(parts), service_cost(evidence.training)
    if cost is not None and asked:
        cost = cost.and_(Span(asked, asked, asked))
    return sum(part.seconds for part in parts), cost


def service_cost(training: TrainingRecord | None) -> float:
    """What services asked for the trainings that they did, as far as they told."""
    jobs = [seed.managed for seed in training.seeds if seed.managed is not None] if training is not None else []
    return sum(job.cost for job in jobs if job.cost is not None)


def money(amount: Span | None, currency: str = "", cents: bool = False) -> str:
    """`0.82 USD [0.41, 1.20]`, a dash where it is not known. cents: nothing is told more precisely than that."""
    if amount is None:
        return "–"
    value, low, high = (_amount(one, cents) for one in (amount.value, amount.low, amount.high))
    return f"{value} {currency}".rstrip() + ("" if low == high else f" [{low}, {high}]")


def _amount(value: float, cents: bool) -> str:
    """Two places for sums that a person pays; three significant digits below one."""
    if cents:
        return "<0.01" if 0 < value < 0.005 else f"{value:,.2f}"
    if value >= 1 or value == 0:
        return f"{value:,.2f}"
    return f"{value:#.3g}" if value >= 1e-4 else f"{value:.2e}"
