"""What each contestant costs: its training, 1,000 requests, its server; every figure a range, None: not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from harness.evidence import Contestant, Evidence, contestants
from harness.money.spec import BudgetSpec
from harness.records import Price, PricesRecord, RunRecord

Z95: Final = 1.959964
"""Standard errors that a mean token count may be off, two-sided 95 %."""


@dataclass(frozen=True, slots=True)
class Span:
    """An amount with what it may be at least and at most."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Span:
        """So many of it; factor: not negative."""
        return Span(self.value * factor, self.low * factor, self.high * factor)

    def and_(self, other: Span) -> Span:
        """Both together."""
        return Span(self.value + other.value, self.low + other.low, self.high + other.high)


def span_of(price: Price) -> Span:
    """A price with its ends; its middle is the value."""
    return Span(price.middle, price.low, price.high)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one contestant costs, in the one currency of the prices."""

    name: str
    tuned: bool
    training: Span | None
    """Its own training, and its sweep's; None where it was not trained or the hour has no price."""
    per_1000: Span | None
    """1,000 requests like those of the task's test split, without a server of its own."""
    basis: str
    """What `per_1000` rests on, or why it is not known."""
    hosting: Span | None
    """A month of the server that it needs for itself; None where it needs none."""
    latency_s: float | None
    """Median seconds for an answer."""
    capacity: float | None = None
    """Requests a month that one server of its own can answer, by the throughput measured here; None: not known."""


def prices_of(evidence: Evidence) -> PricesRecord:
    """The prices that an experiment is reckoned with: the last it was run under, else what its spec states itself."""
    known = [line.prices for line in evidence.spent if line.prices is not None]
    if known:
        return known[-1]
    stated = evidence.spec.get("budget")
    try:
        budget = BudgetSpec.model_validate(stated if isinstance(stated, Mapping) else {})
    except ValidationError:  # of another version: nothing of it is known here
        return PricesRecord()
    return PricesRecord(**dict(_own(budget)), months=budget.months, retrain_every=budget.retrain_every)


def _own(budget: BudgetSpec) -> Iterator[tuple[str, Price]]:
    for place, ends in (
        ("machine", budget.gpu_hour_price), ("input", budget.input_price), ("output", budget.output_price),
    ):  # fmt: skip
        if ends is not None:
            yield place, Price(name=place, low=ends[0], high=ends[1], currency=budget.currency, source="the spec")


def costs_of(evidence: Evidence, prices: PricesRecord) -> list[Costs]:
    """Every contestant's costs, in their order."""
    return [_costs(evidence, one, prices) for one in contestants(evidence)]


def training_span(evidence: Evidence, one: Contestant, prices: PricesRecord) -> Span | None:
    """What a contestant's training cost: its hours, and those of the sweep before it, at the machine's price.

    Of a job at a service, what that cost; else, where the record has a cost and the hour has no price, its
    share of that.
    """
    if one.training is None or evidence.training is None:
        return None
    if (job := one.training.managed) is not None:
        return None if job.cost is None else Span(job.cost, job.cost, job.cost)
    swept = evidence.sweep.seconds if evidence.sweep is not None else 0.0
    if prices.machine is not None:
        return span_of(prices.machine).times((one.training.seconds + swept) / 3600)
    whole, told = sum(seed.seconds for seed in evidence.training.seeds), evidence.training.cost
    if told is None:
        return None
    share = one.training.seconds / whole if whole else 1 / len(evidence.training.seeds)
    return Span(told * share, told * share, told * share)


def all_trainings(evidence: Evidence, prices: PricesRecord) -> Span | None:
    """What all trainings of the experiment cost, its sweep once; None where they have no price."""
    if evidence.training is None:
        return None
    seconds = sum(seed.seconds for seed in evidence.training.seeds)
    served = any(seed.managed is not None for seed in evidence.training.seeds)
    if prices.machine is not None and not served:
        swept = evidence.sweep.seconds if evidence.sweep is not None else 0.0
        return span_of(prices.machine).times((seconds + swept) / 3600)
    told = evidence.training.cost
    return None if told is None else Span(told, told, told)


def _costs(evidence: Evidence, one: Contestant, prices: PricesRecord) -> Costs:
    tuned, run = one.seed is not None, one.runs.get("task")
    per_1000, basis = requests(run, prices, tuned)
    hosting = span_of(prices.hosting).times(prices.hosting_hours) if tuned and prices.hosting else None
    seconds = machine_seconds(run)
    return Costs(
        name=one.name,
        tuned=tuned,
        training=training_span(evidence, one, prices),
        per_1000=per_1000,
        basis=basis,
        hosting=hosting,
        latency_s=one.latency_p50_s,
        capacity=None if hosting is None or not seconds else prices.hosting_hours * 3600 / seconds,
    )


def token_prices(prices: PricesRecord, tuned: bool) -> tuple[Price, Price] | None:
    """Prices of prompt and generated tokens; a tuned model's own where it has them."""
    both = (prices.tuned_input, prices.tuned_output) if tuned else (None, None)
    given, made = both[0] or prices.input, both[1] or prices.output
    return None if given is None or made is None else (given, made)


def token_means(run: RunRecord) -> tuple[Span, Span] | None:
    """Prompt and generated tokens a request, with the 95 % interval of their means where it was kept."""
    if run.tokens_in is None or run.tokens_out is None or not run.n:
        return None
    both = ((run.tokens_in / run.n, run.tokens_in_se), (run.tokens_out / run.n, run.tokens_out_se))
    given, made = (Span(mean, max(0.0, mean - Z95 * (se or 0)), mean + Z95 * (se or 0)) for mean, se in both)
    return given, made


def machine_seconds(run: RunRecord | None) -> float | None:
    """Seconds of the machine a request takes at the throughput that was measured; None where it was not."""
    return None if run is None or not run.machine_s or not run.n else run.machine_s / run.n


def requests(run: RunRecord | None, prices: PricesRecord, tuned: bool) -> tuple[Span | None, str]:
    """1,000 requests, and what that rests on: tokens at a provider's prices, else the machine's hour and throughput.

    A tuned model on a server of its own is paid by the month (`hosting`), so that its requests cost nothing more.
    """
    if run is None:
        return None, "no run on the task"
    if tuned and prices.hosting is not None:
        return Span(0.0, 0.0, 0.0), "a server of its own, paid by the month"
    both, means = token_prices(prices, tuned), token_means(run)
    if both is not None:
        if means is None:
            return None, "its tokens were not counted"
        (given, made), (reads, writes) = both, means
        ends = [
            1e-3 * (getattr(reads, end) * getattr(given, at) + getattr(writes, end) * getattr(made, at))
            for end, at in (("value", "middle"), ("low", "low"), ("high", "high"))
        ]
        return Span(*ends), f"tokens at the prices of {given.name if given.as_of else 'the spec'}"
    seconds = machine_seconds(run)
    if prices.machine is None:
        return None, "no price is known"
    if seconds is None:
        return None, "throughput was not measured: answers came from an earlier sitting, the cache or elsewhere"
    return span_of(prices.machine).times(1000 * seconds / 3600), "hours of the machine at the throughput measured"


def trainings(prices: PricesRecord) -> float:
    """Trainings that are paid off over `months`: one, and one more each time that it is trained again."""
    if prices.retrain_every is None:
        return 1.0
    return max(1.0, -(-prices.months // prices.retrain_every))
