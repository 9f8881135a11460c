"""The `budget` part of an experiment: prices, what costs are spread over, and the limits that stop it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from harness.partspec import PartSpec

Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


def _both(given: Any) -> Any:
    """`2.5` is a price that is known, `[2, 3]` one between both."""
    return [given, given] if isinstance(given, int | float) and not isinstance(given, bool) else given


def _in_order(given: tuple[float, float]) -> tuple[float, float]:
    if given[0] > given[1]:
        raise ValueError(f"got {list(given)}; the lower end first")
    return given


def _short(given: tuple[float, float]) -> float | list[float]:
    return given[0] if given[0] == given[1] else list(given)


Range = Annotated[
    tuple[Amount, Amount],
    BeforeValidator(_both),
    AfterValidator(_in_order),
    PlainSerializer(_short, when_used="always"),
]
"""A price that is known, or its ends: `2.5` or `[2.0, 3.0]`."""


class BudgetSpec(PartSpec):
    """Prices, for the cost side of the verdict, and the limits at which the experiment stops."""

    gpu_hour_price: Range | None = None
    """Price of one hour of the machine that searches, trains and evaluates, in your currency, or its range [low, high];
    None leaves its cost out."""
    input_price: Range | None = None
    """Price of a million prompt tokens while serving, or its range; gates on cost need a single one."""
    output_price: Range | None = None
    """Price of a million generated tokens while serving, likewise."""
    machine: str | None = None
    """Name of a `gpu_hour` price in the price list, instead of `gpu_hour_price`."""
    provider: str | None = None
    """Name of token prices in the price list, instead of `input_price` and `output_price`."""
    tuned_provider: str | None = None
    """Name of token prices of the tuned model, where they are others; by default those of the base model."""
    hosting: Range | str | None = None
    """Price of an hour of the server that a tuned model needs for itself, its range, or the name of a `gpu_hour` price;
    None where it is served beside the base model, or by a provider."""
    hosting_hours: Annotated[float, Field(gt=0, le=744)] = 730.0
    """Hours a month that this server is up."""
    months: Positive = 12.0
    """Months over which a training is paid off."""
    retrain_every: Positive | None = None
    """Months after which it is trained again; None for once."""
    volume: Positive | None = None
    """Requests a month that you expect."""
    currency: str = ""
    """Currency of the prices stated here; empty: that of the price list, where one is used."""
    prices: str | None = None
    """A price list of your own; by default what HARNESS_PRICES names, else the one that comes with the harness."""
    answer_s: Range | None = None
    """Seconds an answer takes, or their range, for the forecast, where no earlier experiment of this model on such a
    machine has measured it."""
    step_s: Range | None = None
    """Seconds an optimizer step takes, likewise."""
    stale_after: Annotated[int, Field(ge=1)] = 180
    """Days after which a price of the list is told to be old."""
    max_cost: Positive | None = None
    """Stop when the experiment has cost as much, reckoned at the high end of its prices."""
    max_hours: Positive | None = None
    """Stop when it has taken as many hours, over all sittings."""

    @model_validator(mode="after")
    def _one_source(self) -> BudgetSpec:
        for named, stated in (("machine", "gpu_hour_price"), ("provider", "input_price"), ("provider", "output_price")):
            if getattr(self, named) is not None and getattr(self, stated) is not None:
                raise ValueError(f"{named} and {stated} are both given; one of them")
        if (self.input_price is None) is not (self.output_price is None):
            raise ValueError("input_price and output_price go together; one of them is missing")
        priced = (self.machine, self.gpu_hour_price, self.provider, self.input_price)
        if self.max_cost is not None and all(one is None for one in priced):
            raise ValueError(
                "max_cost needs a price: machine or gpu_hour_price, or provider where a server elsewhere answers"
            )
        return self

    @property
    def hour_price(self) -> float | None:
        """The middle of `gpu_hour_price`."""
        return None if self.gpu_hour_price is None else sum(self.gpu_hour_price) / 2

    @property
    def token_prices(self) -> tuple[float, float] | None:
        """Prices of a million prompt and generated tokens that gates on cost may rest on: both stated, none a range."""
        if self.input_price is None or self.output_price is None:
            return None
        known = self.input_price[0] == self.input_price[1] and self.output_price[0] == self.output_price[1]
        return (self.input_price[0], self.output_price[0]) if known else None
