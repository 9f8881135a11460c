"""Measures: what every run has beside its scores, latency, tokens and cost. Less is better for all of them.

One line of the table each. A failed call or a number that was not taken is unscored, never zero: a call
that failed at once was not fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from harness.errors import Problem, UsageError
from harness.records import Record, SampleRecord

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Prices(Record):
    """What tokens cost, in any one currency."""

    input: Price
    """Of a million prompt tokens."""
    output: Price
    """Of a million generated tokens."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One entry of the table."""

    summary: str
    """What it is, with its unit."""
    read: Callable[[SampleRecord, Prices | None], float | None]
    """What one answer took; None when it was not measured. Prices are given where `priced`."""
    quantile: float | None = None
    """Which quantile over the items; None for their mean."""
    priced: bool = False
    """Whether prices are needed."""


def _latency(sample: SampleRecord, _: Prices | None) -> float | None:
    return sample.latency_s


def _cost(sample: SampleRecord, prices: Prices | None) -> float | None:
    if prices is None or sample.tokens_in is None or sample.tokens_out is None:
        return None
    return (sample.tokens_in * prices.input + sample.tokens_out * prices.output) / 1000


def _tokens(sample: SampleRecord, _: Prices | None) -> float | None:
    if sample.tokens_in is None or sample.tokens_out is None:
        return None
    return sample.tokens_in + sample.tokens_out


MEASURES: Final[dict[str, Measure]] = {
    "latency_mean_s": Measure("Mean seconds per answer; inside a batch, the batch's.", _latency),
    "latency_p50_s": Measure("Median seconds per answer.", _latency, quantile=0.5),
    "latency_p95_s": Measure("95th percentile of seconds per answer.", _latency, quantile=0.95),
    "tokens_in": Measure("Mean prompt tokens per answer, chat template included.", lambda s, _: s.tokens_in),
    "tokens_out": Measure("Mean generated tokens per answer.", lambda s, _: s.tokens_out),
    "tokens_per_request": Measure("Mean tokens per answer, prompt and generated.", _tokens),
    "cost_per_1000_requests": Measure("Price of the tokens of 1,000 answers.", _cost, priced=True),
}


LATENCIES: Final = frozenset(name for name, measure in MEASURES.items() if measure.read is _latency)
"""Those that answers of one batch share."""


def reader(name: str, prices: Prices | None) -> Callable[[SampleRecord], float | None]:
    """How a measure is read off a sample. Raises UsageError when it needs prices and none are given."""
    measure = MEASURES[name]
    if measure.priced and prices is None:
        hint = "Give budget.input_price and budget.output_price, per million tokens"
        raise UsageError(Problem(name, "needs the prices of tokens", next=hint))
    return lambda sample: None if sample.error is not None else measure.read(sample, prices)
