"""What a candidate costs: training by its seconds and its price, requests by their tokens and theirs.

Prices are the experiment's own (`budget`), in its one currency. Where it states none, nothing here is money.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness import evidence as ev
from harness.evidence import BAR, Contestant, Evidence
from harness.records import SeedTraining, TrainingRecord


def training_money(record: TrainingRecord | None, one: SeedTraining | None) -> float | None:
    """A training's share of the price of all, by its seconds; None where no price was given."""
    if record is None or one is None or record.cost is None:
        return None
    whole = sum(seed.seconds for seed in record.seeds)
    return record.cost * one.seconds / whole if whole else None


def money_per_1000(spec: Mapping[str, Any], tokens_in: float | None, tokens_out: float | None) -> float | None:
    """The price of the tokens of 1,000 requests; None without prices or counts."""
    budget = spec.get("budget")
    stated = budget if isinstance(budget, Mapping) else {}
    price_in, price_out = stated.get("input_price"), stated.get("output_price")
    if tokens_in is None or tokens_out is None:
        return None
    if not isinstance(price_in, int | float) or not isinstance(price_out, int | float):
        return None
    return (tokens_in * price_in + tokens_out * price_out) / 1000


def training_told(evidence: Evidence) -> str:
    """`4 min of training, price 0.17`, or that there was none."""
    training = evidence.training
    if training is None:
        return "No training" if evidence.decision == "prompt_suffices" else ev.DASH
    price = "" if training.cost is None else f", price {training.cost:,.2f}"
    return f"{duration(sum(seed.seconds for seed in training.seeds))} of training{price}"


def request_told(evidence: Evidence, judged: Contestant | None, bar: Contestant | None) -> str:
    """What a request takes of the judged candidate, beside the best prompt where that is another one."""
    if judged is None:
        return ""
    other = bar if judged.name != BAR else None
    told = [
        f"{written} {unit}" + (f" (best prompt {beside})" if beside else "")
        for unit, written, beside in (
            ("tokens", *_both(_tokens, judged, other, ",.0f")),
            ("s", *_both(lambda one: one.latency_p50_s, judged, other, ",.2f")),
            ("per 1,000", *_both(lambda one: _money(evidence, one), judged, other, ",.4g")),
        )
        if written
    ]
    return "a request: " + ", ".join(told) if told else ""


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`: never more precise than a reader needs."""
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _both(
    read: Callable[[Contestant], float | None], one: Contestant, other: Contestant | None, form: str
) -> tuple[str, str]:
    values = read(one), read(other) if other else None
    mine, theirs = ("" if value is None else format(value, form) for value in values)
    return mine, theirs


def _tokens(one: Contestant) -> float | None:
    return None if one.tokens_in is None or one.tokens_out is None else one.tokens_in + one.tokens_out


def _money(evidence: Evidence, one: Contestant) -> float | None:
    return money_per_1000(evidence.spec, one.tokens_in, one.tokens_out)
