"""Win rates: pairwise judgements, which of two answers is better, as paired samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from harness.compare.estimators import Mean
from harness.compare.flips import Change
from harness.compare.pairs import Ground, Pairs
from harness.compare.selecting import ALL, units_of
from harness.compare.yardsticks import Yardstick, averaged
from harness.errors import Problem, UsageError
from harness.records import Interval, Record

PREFERENCE: Final = "preference"
HUMAN: Final = "human_win_rate"
"""What a gate names to be judged on the votes of people."""
LEAST_VOTES: Final = 30
"""Pairs of answers that people must have voted on before such a gate decides anything."""
POINTS: Final[dict[Change, float]] = {"won": 1.0, "tied": 0.5, "lost": 0.0, "unscored": np.nan}
"""What a judgement gives the candidate; the reference gets the rest of 1."""


class Judgement(Record):
    """One verdict of a judge, a model or a person, on the two answers to an item."""

    id: str
    """Item id."""
    repeat: int = 0
    """Which judgement of the item (0-based): another judge, or the answers shown the other way round."""
    outcome: Change
    """Seen from the candidate; `unscored` when the judge gave no verdict."""
    cluster: str | None = None
    """See Item."""


def preferences(judgements: Sequence[Judgement], *, suite: str, candidate: str, reference: str) -> Pairs:
    """Pairwise judgements as a comparison: the difference is the net win rate, (won - lost) / n.

    A judgement is a paired sample: (1, 0) when the candidate wins, (0.5, 0.5) for a tie, (0, 1) otherwise, so ties
    count as half. An item's judgements are averaged first; it is unscored as soon as one of them is.
    suite, candidate, reference: names for the record. Raises UsageError when one (id, repeat) comes twice.
    """
    by_item: dict[str, dict[int, Judgement]] = {}
    for one in judgements:
        if by_item.setdefault(one.id, {}).setdefault(one.repeat, one) is not one:
            raise UsageError(Problem("judgements", f"item {one.id!r}, repeat {one.repeat} was judged twice"))
    groups = [list(group.values()) for group in by_item.values()]
    ours = np.array([averaged(np.array([POINTS[one.outcome] for one in group])) for group in groups], dtype=np.float64)
    units = units_of([group[0].cluster for group in groups])
    repeats = max((len(group) for group in groups), default=1)
    ground = Ground(suite, ALL, None, PREFERENCE, Yardstick(Mean(), True, True), units, repeats, None)
    return Pairs(ground, candidate, reference, "artifact", 1.0, ours[None], 1 - ours)


def win_rate(difference: Interval) -> Interval:
    """The share of wins, ties counted as half, that a net win rate (`preferences`) amounts to: (1 + difference) / 2."""
    value, low, high = (None if x is None else (1 + x) / 2 for x in (difference.value, difference.low, difference.high))
    return difference.model_copy(update={"value": value, "low": low, "high": high})
