"""Money: prices with dates and sources, what each contestant costs, when a fine-tune pays, and the budget that stops.

spec            the `budget` part of an experiment
prices          the price list, and which of it counts
reckoning       costs of every contestant
breaking_even   the volume above which a tuned model is cheaper than the best prompt
spending        what the experiment has cost so far
metering        the meter of a sitting
telling         all of it in words, the same for every view
"""

from harness.money.breaking_even import (
    BreakEven,
    Curve,
    Month,
    Monthly,
    break_even,
    break_evens,
    judged_curve,
    monthly,
    volume_of,
)
from harness.money.metering import Meter, pin
from harness.money.prices import PriceLine, price_list, resolve
from harness.money.reckoning import Costs, Span, all_trainings, costs_of, prices_of, requests, training_span
from harness.money.spec import BudgetSpec
from harness.money.spending import Spent, money, so_far, spent, whole

__all__ = [
    "BreakEven",
    "BudgetSpec",
    "Costs",
    "Curve",
    "Meter",
    "Month",
    "Monthly",
    "PriceLine",
    "Span",
    "Spent",
    "all_trainings",
    "break_even",
    "break_evens",
    "costs_of",
    "judged_curve",
    "money",
    "monthly",
    "pin",
    "price_list",
    "prices_of",
    "requests",
    "resolve",
    "so_far",
    "spent",
    "training_span",
    "volume_of",
    "whole",
]
