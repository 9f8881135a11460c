"""What a candidate costs, as the leaderboard tells it: the same figures as every report, from `harness.money`."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from harness import evidence as ev
from harness import money
from harness.evidence import Contestant, Evidence
from harness.money.telling import clock as duration
from harness.money.telling import lines, stages, terms
from harness.store import ExperimentStore

__all__ = [
    "cost_told", "duration", "money_monthly", "money_per_1000", "money_rows", "money_stages", "money_terms",
    "request_told", "training_money",
]  # fmt: skip


def training_money(evidence: Evidence, one: Contestant) -> float | None:
    """The cost of a contestant's training, the middle of its range; None where it has no price."""
    span = money.training_span(evidence, one, money.prices_of(evidence))
    return None if span is None else span.value


def money_per_1000(evidence: Evidence, one: Contestant) -> float | None:
    """1,000 requests like the task's, the middle of their range; None where they have no price."""
    span, _ = money.requests(one.runs.get("task"), money.prices_of(evidence), tuned=one.seed is not None)
    return None if span is None else span.value


def cost_told(evidence: Evidence) -> tuple[str, str]:
    """What the whole experiment took, `22 min, 0.04 USD`, and of it the training with its range.

    Where the whole is not known, or a training was taken over from an earlier experiment, the training is told first.
    """
    training, prices = evidence.training, money.prices_of(evidence)
    seconds, spent = money.so_far(evidence, prices)
    took = sum(seed.seconds for seed in training.seeds) if training is not None else 0.0
    cost = money.all_trainings(evidence, prices) if training is not None else None
    price = "" if cost is None else f", {money.money(cost, prices.currency)}"
    trained = "" if training is None else f"{duration(took)} of training{price}"
    if not trained and evidence.decision == "prompt_suffices":
        trained = "no training"
    if seconds is None or seconds < took:
        return (trained[:1].upper() + trained[1:] or ev.DASH), ""
    amount = "" if spent is None else f", {money.money(spent, prices.currency, cents=True)}"
    return f"{duration(seconds)}{amount}", trained


def request_told(evidence: Evidence, judged: Contestant | None, bar: Contestant | None) -> str:
    """What a request takes of the judged candidate, beside the best prompt, and from which volume on it pays."""
    if judged is None:
        return ""
    other = bar if judged.name != evidence.bar else None
    told = [
        f"{written} {unit}" + (f" ({evidence.bar_words.removeprefix('the ')} {beside})" if beside else "")
        for unit, written, beside in (
            ("tokens", *_both(_tokens, judged, other, ",.0f")),
            ("s", *_both(lambda one: one.latency_p50_s, judged, other, ",.2f")),
            ("per 1,000", *_both(lambda one: money_per_1000(evidence, one), judged, other, ",.4g")),
        )
        if written
    ]
    pays = None if judged.seed is None else money.break_even(evidence, judged, money.prices_of(evidence))
    parts = ["a request: " + ", ".join(told)] if told else []
    if pays is not None and not pays.unknown:
        parts.append(f"cheaper {'from ' if pays.told.startswith('about') else ''}{pays.told}")
    return "; ".join(parts)


def _both(
    read: Callable[[Contestant], float | None], one: Contestant, other: Contestant | None, form: str
) -> tuple[str, str]:
    values = read(one), read(other) if other else None
    mine, theirs = ("" if value is None else format(value, form) for value in values)
    return mine, theirs


def _tokens(one: Contestant) -> float | None:
    return None if one.tokens_in is None or one.tokens_out is None else one.tokens_in + one.tokens_out


# ------------------------------------------------------------- the page of one experiment

ROWS = (
    "candidate",
    "1,000 requests",
    "training",
    "own server a month",
    "p50 s",
    "cheaper than the best prompt",
    "basis",
)


def money_rows(experiment: ExperimentStore) -> pd.DataFrame:
    """A row a contestant, as text: 1,000 requests, training, hosting, latency, break-even, and what they rest on."""
    told = lines(ev.gather(experiment))
    made = [(x.candidate, x.per_1000, x.training, x.hosting, x.latency, x.pays or ev.DASH, x.basis) for x in told]
    return pd.DataFrame(made, columns=list(ROWS))


def money_stages(experiment: ExperimentStore) -> pd.DataFrame:
    """What each stage took so far, the whole last; empty where it was not counted."""
    made = stages(ev.gather(experiment))
    return pd.DataFrame(made, columns=["stage", "time", "tokens in / out elsewhere", "cost"])


def money_terms(experiment: ExperimentStore) -> pd.DataFrame:
    """The prices that all of it rests on, as `what` and `value`."""
    return pd.DataFrame(terms(ev.gather(experiment)), columns=["what", "value"])


def money_monthly(experiment: ExperimentStore) -> pd.DataFrame:
    """The judged candidate's monthly cost and the best prompt's over the volume: `candidate`, `volume`, `cost`, `low`,
    `high`, and in `pays` the break-even at the middle of the prices; empty where it is not known."""
    evidence = ev.gather(experiment)
    curve = money.judged_curve(evidence)
    points = [(p.candidate, p.volume, p.cost.value, p.cost.low, p.cost.high) for p in curve.points] if curve else []
    frame = pd.DataFrame(points, columns=["candidate", "volume", "cost", "low", "high"]).astype(
        dict.fromkeys(("volume", "cost", "low", "high"), "float64")
    )
    return frame.assign(pays=curve.pays.value if curve else None, currency=curve.currency if curve else "")
