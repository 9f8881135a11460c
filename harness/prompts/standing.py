"""How an arm stands: its scores on shared items, and what can be said of two arms from the same items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from harness.evaluate import MAX_FAILED
from harness.prompts.meter import Arm
from harness.records import Item, SampleRecord

CONFIDENCE_Z = 3.3
"""An arm falls when a 99.9 % interval says that it is worse than the leader: 5 % over some fifty looks at once (16 arms
in three rounds, a union bound as in Hoeffding races). Narrower ones were seen to throw out the best arm more often."""
FEWEST = 8
"""Items below which no difference counts: fewer tell arms apart no better than a coin."""


@dataclass(slots=True, eq=False)
class Entry:
    """One arm in the race."""

    arm: Arm
    samples: dict[str, SampleRecord] = field(default_factory=dict)
    """By item id."""
    rung: int = 0
    """Last round in which it was asked (0-based)."""
    fate: str = ""

    def score(self, item: Item, metric: str) -> float | None:
        """Its score on an item; None where it was not asked or the call failed."""
        sample = self.samples.get(item.id)
        return None if sample is None else sample.scores[metric]

    def scored(self, items: Sequence[Item], metric: str) -> list[float]:
        """Its scores on those items that have one."""
        return [score for item in items if (score := self.score(item, metric)) is not None]

    def mean(self, items: Sequence[Item], metric: str) -> float | None:
        """Mean over the scored items; None when there are none."""
        return fmean(scores) if (scores := self.scored(items, metric)) else None

    def faults(self, items: Sequence[Item]) -> list[str]:
        """What went wrong, a text for each failed call."""
        return [s.error for item in items if (s := self.samples.get(item.id)) is not None and s.error is not None]

    def partial(self, items: Sequence[Item], metric: str) -> tuple[float, ...]:
        """Means of the task's further metrics, in their order."""
        rows = [s.scores for item in items if (s := self.samples.get(item.id)) is not None and s.error is None]
        further = [name for name in (rows[0] if rows else ()) if name != metric]
        columns = [[value for row in rows if (value := row[name]) is not None] for name in further]
        return tuple(fmean(column) if column else 0.0 for column in columns)

    def tokens(self) -> float:
        """Tokens a call; where the engine does not count, the length of the prompt."""
        counted = [(s.tokens_in or 0) + (s.tokens_out or 0) for s in self.samples.values() if s.error is None]
        shown = sum(len(turn.content) for example in self.arm.prompt.demonstrations for turn in example)
        return fmean(counted) if counted and all(counted) else float(len(self.arm.prompt.instruction) + shown)

    def rank(self, items: Sequence[Item], metric: str) -> tuple[float, tuple[float, ...], float]:
        """Sorts best first: by the mean, of equals by the further metrics, then by cost.

        Where no prompt gets an answer wholly right, partial credit still tells them apart.
        """
        mean = self.mean(items, metric)
        partial = tuple(-value for value in self.partial(items, metric))
        return (math.inf if mean is None else -mean, partial, self.tokens())

    def fails(self, items: Sequence[Item]) -> bool:
        """Whether more of its calls fail than an evaluation over all these items may lack."""
        return len(self.faults(items)) > MAX_FAILED * len(items)


def paired_bound(differences: Sequence[float], z: float = CONFIDENCE_Z) -> tuple[float, float]:
    """Interval of a mean paired difference, differences in [-1, 1].

    Agresti & Min 2005, "Simple improved confidence intervals for comparing matched proportions": the normal interval
    after half an item of each kind is added; here half a difference of +1, of -1, and one of 0. So a handful of
    items without any spread never gives a width of zero. Raises ValueError for no differences.
    """
    if not differences:
        raise ValueError("no differences")
    n = len(differences) + 2
    mean = math.fsum(differences) / n
    variance = (math.fsum(d * d for d in differences) + 1) / n - mean * mean
    half = z * math.sqrt(variance / n)
    return max(-1.0, mean - half), min(1.0, mean + half)


def against(entry: Entry, leader: Entry, items: Sequence[Item], metric: str) -> tuple[float, float] | None:
    """Interval of the entry's mean minus the leader's on the items that both have; None for fewer than `FEWEST`."""
    pairs = [(entry.score(item, metric), leader.score(item, metric)) for item in items]
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    return paired_bound(differences) if len(differences) >= FEWEST else None
