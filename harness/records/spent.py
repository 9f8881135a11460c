"""What an experiment took, and at which prices it is reckoned: lines of `spending.jsonl`."""

from __future__ import annotations

from harness.records.base import SCHEMA_VERSION, Record, SchemaVersion


class Price(Record):
    """One price, known or as a range."""

    name: str
    """Its name in the price list, or the key of the spec that states it."""
    low: float
    """The least that it may be; in `currency`, for an hour or for a million tokens."""
    high: float
    """The most that it may be; the same as `low` where it is known."""
    currency: str = ""
    """Currency; empty where the spec does not name it."""
    as_of: str | None = None
    """Day on which the source told it, ISO 8601; None for the spec's own."""
    source: str = ""
    """Where it was read."""

    @property
    def middle(self) -> float:
        """Half way between both ends: what is shown where one number is asked for."""
        return (self.low + self.high) / 2


class PricesRecord(Record):
    """Every price that an experiment is reckoned with, and what costs are spread over. None: not known."""

    machine: Price | None = None
    """An hour of the machine that searches, trains and evaluates."""
    input: Price | None = None
    """A million prompt tokens of the base model."""
    output: Price | None = None
    """A million generated tokens of the base model."""
    tuned_input: Price | None = None
    """A million prompt tokens of the tuned model, where it has a price of its own."""
    tuned_output: Price | None = None
    """A million generated tokens of the tuned model, likewise."""
    hosting: Price | None = None
    """An hour of the server that the tuned model needs for itself; None where it needs none."""
    hosting_hours: float = 730.0
    """Hours a month that it is up."""
    months: float = 12.0
    """Months over which a training is paid off."""
    retrain_every: float | None = None
    """Months after which it is trained again; None for once."""
    volume: float | None = None
    """Requests a month that are expected."""
    max_cost: float | None = None
    """Limit of the experiment's cost."""
    max_hours: float | None = None
    """Limit of its hours."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the prices, e.g. that one is old."""

    @property
    def currency(self) -> str:
        """The one currency of all prices; empty where none is named."""
        known = (self.machine, self.input, self.output, self.tuned_input, self.tuned_output, self.hosting)
        return next((one.currency for one in known if one is not None and one.currency), "")


class SpendingRecord(Record):
    """What a part of a sitting took: a line of `spending.jsonl`, appended, never changed."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    stage: str
    """Stage of the experiment, as progress tells it."""
    seconds: float
    """Wall time since the line before, or since the sitting began."""
    tokens_in: int = 0
    """Prompt tokens that a server elsewhere answered since then: they cost money, this machine's own do not."""
    tokens_out: int = 0
    """Tokens that it generated."""
    prices: PricesRecord | None = None
    """Prices from here on; None where they did not change. The last ones in the file are those that count."""
    created: str
    """UTC time, ISO 8601."""
