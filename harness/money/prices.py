"""The price list: dated prices with their sources, and which of them an experiment is reckoned with."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError, model_validator

from harness.errors import Problem, SpecError, UsageError, did_you_mean
from harness.money.spec import BudgetSpec, Range
from harness.partspec import PartSpec
from harness.records import Price, PricesRecord
from harness.yamls import read_strict_yaml

PACKAGED: Final = Path(__file__).with_name("prices.yaml")
ENVIRONMENT: Final = "HARNESS_PRICES"
Kind = Literal["gpu_hour", "input_tokens", "output_tokens"]


class PriceLine(PartSpec):
    """One line of a price list."""

    name: str
    """What a spec calls it."""
    kind: Kind
    """`gpu_hour`: one hour of one GPU; `input_tokens`, `output_tokens`: a million of them."""
    low: float = Field(ge=0)
    """The least that it is offered for."""
    high: float = Field(ge=0)
    """The most."""
    currency: str = Field(min_length=1)
    """Currency, e.g. USD."""
    as_of: datetime.date
    """Day on which the source told it."""
    source: str
    """Where that can be read."""

    @model_validator(mode="after")
    def _ordered(self) -> PriceLine:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self

    @property
    def price(self) -> Price:
        """As a record."""
        return Price(
            name=self.name, low=self.low, high=self.high, currency=self.currency, as_of=self.as_of.isoformat(),
            source=self.source,
        )  # fmt: skip


def price_list(budget: BudgetSpec, near: Path) -> tuple[Path, tuple[PriceLine, ...]]:
    """The list that counts, and its lines: the spec's own, else what HARNESS_PRICES names, else the packaged one.

    near: folder from which `budget.prices` is meant. Raises SpecError with every fault of the file.
    """
    named = os.environ.get(ENVIRONMENT)
    path = near / budget.prices if budget.prices else Path(named) if named else PACKAGED
    try:
        loaded = read_strict_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as fault:
        hint = "Name a price list with budget.prices or HARNESS_PRICES, or leave both out"
        raise SpecError(Problem(str(path), f"cannot read the price list: {fault}", next=hint)) from fault
    except UsageError as fault:
        raise SpecError(fault.problems) from fault
    if not isinstance(loaded, list):
        raise SpecError(
            Problem(str(path), "is no list of prices", "Lines of name, kind, low, high, currency, as_of, source")
        )
    lines, problems = list[PriceLine](), list[Problem]()
    for number, line in enumerate(loaded, start=1):
        try:
            lines.append(PriceLine.model_validate(line))
        except ValidationError as fault:
            problems += [
                Problem(f"{path}: price {'.'.join(map(str, (number, *one['loc'])))}", one["msg"])
                for one in fault.errors()
            ]
    keys = [(line.name, line.kind) for line in lines]
    problems += [
        Problem(str(path), f"{name!r} has two prices of the kind {kind}", next="Keep one, with its range")
        for name, kind in sorted({key for key in keys if keys.count(key) > 1})
    ]
    if problems:
        raise SpecError(problems)
    return path, tuple(lines)


def resolve(budget: BudgetSpec, near: Path, today: datetime.date | None = None) -> PricesRecord:
    """The prices that an experiment is reckoned with. A price that nobody stated or named is None, never 0.

    Raises SpecError for a name that is not in the list, a list that cannot be read, and two currencies.
    """
    named = (budget.machine, budget.provider, budget.tuned_provider, budget.prices)
    lines: tuple[PriceLine, ...] = ()
    path = PACKAGED
    if any(one is not None for one in named) or isinstance(budget.hosting, str):
        path, lines = price_list(budget, near)
    found, problems = dict[str, Price](), list[Problem]()
    for place, key, name, kind in _wanted(budget):
        line = next((one for one in lines if (one.name, one.kind) == (name, kind)), None)
        if line is None:
            known = sorted({one.name for one in lines if one.kind == kind})
            problems.append(
                Problem(f"budget.{key}", f"no {kind} price {name!r} in {path.name}", did_you_mean(name, known))
            )
        else:
            found[place] = line.price
    if problems:
        raise SpecError(list({str(one): one for one in problems}.values()))
    found |= dict(_stated(budget))
    currencies = {price.currency for price in found.values() if price.currency} | ({budget.currency} - {""})
    if len(currencies) > 1:
        hint = "State prices in one currency; nothing is converted here"
        raise SpecError(Problem("budget", f"prices in {' and '.join(sorted(currencies))}", next=hint))
    currency = next(iter(currencies), "")
    found = {place: price.model_copy(update={"currency": currency}) for place, price in found.items()}
    return PricesRecord(
        **found,
        hosting_hours=budget.hosting_hours,
        months=budget.months,
        retrain_every=budget.retrain_every,
        volume=budget.volume,
        max_cost=budget.max_cost,
        max_hours=budget.max_hours,
        notes=tuple(
            dict.fromkeys(_old(found, budget.stale_after, today or datetime.datetime.now(datetime.UTC).date()))
        ),
    )


def _wanted(budget: BudgetSpec) -> Iterator[tuple[str, str, str, Kind]]:
    """Prices that are named, as (place in the record, key of the spec, name, kind)."""
    if budget.machine is not None:
        yield "machine", "machine", budget.machine, "gpu_hour"
    if isinstance(budget.hosting, str):
        yield "hosting", "hosting", budget.hosting, "gpu_hour"
    for prefix, key, name in (("", "provider", budget.provider), ("tuned_", "tuned_provider", budget.tuned_provider)):
        if name is not None:
            yield f"{prefix}input", key, name, "input_tokens"
            yield f"{prefix}output", key, name, "output_tokens"


def _stated(budget: BudgetSpec) -> Iterator[tuple[str, Price]]:
    """Prices that the spec itself states."""
    hosting: Range | None = None if isinstance(budget.hosting, str) else budget.hosting
    stated = {
        "machine": ("gpu_hour_price", budget.gpu_hour_price),
        "input": ("input_price", budget.input_price),
        "output": ("output_price", budget.output_price),
        "hosting": ("hosting", hosting),
    }
    for place, (key, ends) in stated.items():
        if ends is not None:
            low, high = ends
            yield place, Price(name=f"budget.{key}", low=low, high=high, currency=budget.currency, source="the spec")


def _old(found: dict[str, Price], days: int, today: datetime.date) -> Iterator[str]:
    for price in found.values():
        if price.as_of is None:
            continue
        age = (today - datetime.date.fromisoformat(price.as_of)).days
        if age < 0:
            yield f"the price of {price.name} is of {price.as_of}, a day still to come: correct its date"
        if age > days:
            yield f"the price of {price.name} is of {price.as_of}, more than {days} days old: look it up again"
