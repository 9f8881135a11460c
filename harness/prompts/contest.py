"""The contest: arms meet the same items in growing rounds, and fall when they will not win.

An arm falls when a paired bound on the shared items says that it is worse than the leader (racing: Maron & Moore
1994, "Hoeffding races"; Birattari et al. 2002 and 2010, F-race and iterated F-race), when too many of its calls fail,
or, since a budget must be met, with the worse half of a round (successive halving: Jamieson & Talwalkar 2016,
"Non-stochastic best arm identification"). The raw prompt falls by a bound alone, as long as the budget lasts for two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from harness.errors import EngineError, Problem
from harness.prompts.meter import Arm
from harness.prompts.standing import FEWEST, Entry, against
from harness.records import Item, SampleRecord


class Asker(Protocol):
    """What a contest needs of the meter."""

    @property
    def metric(self) -> str:
        """The metric that is optimised."""
        ...

    @property
    def left(self) -> int:
        """What is left of the budget."""
        ...

    def cost(self, arm: Arm, items: Sequence[Item]) -> int:
        """What asking would take."""
        ...

    def ask(self, arm: Arm, items: Sequence[Item]) -> list[SampleRecord]:
        """Ask."""
        ...


class Contest:
    """Arms in a race over items in one order."""

    def __init__(self, asker: Asker, order: Sequence[Item]) -> None:
        self.order = tuple(order)
        self.entries: dict[str, Entry] = {}
        """Every arm that was asked anything, by its key."""
        self.alive: list[Entry] = []
        """Best first, as of the last round."""
        self._asker, self._metric = asker, asker.metric
        self._round = 0

    @property
    def leader(self) -> Entry:
        """The best of those that met most items."""
        return self.alive[0]

    def heat(self, arms: Sequence[Arm], allowance: int, keep: int, first: int, *, to_the_end: bool = False) -> None:
        """Race new arms against those that are alive until `keep` are left, or the allowance is spent.

        first: items of the first round; each further round doubles them. to_the_end: go on to the last item, and let
        arms fall by bounds and for want of budget alone. Raises EngineError when no arm gets an answer.
        """
        self.alive += [Entry(arm) for arm in arms if arm.key not in self.entries]
        end = self._asker.left - allowance
        size = max(1, min(first, len(self.order)))
        while self._fit(size, end, keep):
            self._ask(size)
            self._drop_failing(size)
            self._drop_beaten(size)
            if not to_the_end:
                self._halve(size, keep)
            most = max(len(entry.samples) for entry in self.alive)
            few = sum(not _raw(entry) for entry in self.alive) <= keep
            if size >= len(self.order) or (few and size >= most and not to_the_end):
                break
            size = min(len(self.order), 2 * size)
        self.alive = [entry for entry in self.alive if entry.samples]

    def finish(self) -> Entry:
        """The best arm over all items it was asked together with the others; it meets every item.

        Raises EngineError when no arm got an answer.
        """
        met = [entry for entry in self.alive if self._asker.cost(entry.arm, self.order) == 0]
        best = min(met or self.alive, key=lambda entry: entry.rank(self.order, self._metric))
        if best not in met and self._asker.cost(best.arm, self.order) <= self._asker.left:
            self._take(best, self.order)
        for entry in self.alive:
            if entry is not best:
                entry.fate = "runner-up: " + self._compared(entry, best, self._shared(entry, best))
        best.fate = "winner"
        return best

    # ------------------------------------------------------------------- one round

    def _ask(self, size: int) -> None:
        for entry in self.alive:
            if self._asker.cost(entry.arm, self.order[:size]) or not entry.samples:
                entry.rung = self._round
                self._take(entry, self.order[:size])
        self._round += 1
        self._sort(size)

    def _take(self, entry: Entry, items: Sequence[Item]) -> None:
        for item, sample in zip(items, self._asker.ask(entry.arm, items), strict=True):
            entry.samples[item.id] = sample
        self.entries[entry.arm.key] = entry

    def _sort(self, size: int) -> None:
        """Those that met most items first, best first among them: a lucky start does not make a leader."""
        items = self.order[:size]
        self.alive.sort(key=lambda entry: (-len(entry.samples), entry.rank(items, self._metric)))

    def _fit(self, size: int, end: int, keep: int) -> bool:
        """Let arms fall until the next round is affordable; whether it is with those that stay."""
        while not self._affordable(size, end):
            loose = [entry for entry in self.alive[1:] if not _raw(entry)]
            if len(self.alive) <= keep:
                loose = [entry for entry in loose if not entry.samples]
            if not loose:
                return False
            self._fall(loose[-1], size, "the budget goes to better ones")
        return True

    def _affordable(self, size: int, end: int) -> bool:
        """Whether the round leaves the allowance, and enough for the dearest arm to meet all items."""
        cost = sum(self._asker.cost(entry.arm, self.order[:size]) for entry in self.alive)
        rest = max(self._asker.cost(entry.arm, self.order[size:]) for entry in self.alive)
        return cost <= self._asker.left - end and cost + rest <= self._asker.left

    def _drop_failing(self, size: int) -> None:
        items = self.order[:size]
        failing = [entry for entry in self.alive if entry.fails(items)]
        if len(failing) == len(self.alive):
            answered = [entry for entry in failing if entry.mean(items, self._metric) is not None]
            if not answered:
                fault = failing[0].faults(items)[-1]
                hint = "Look at the logs folder of the experiment; run again, and nothing scored is lost"
                raise EngineError(Problem("prompt race", f"no arm got an answer: {fault}", next=hint))
            failing = [entry for entry in failing if entry is not answered[0]]
        for entry in failing:
            faults, asked = entry.faults(items), sum(item.id in entry.samples for item in items)
            self._fall(entry, size, f"{len(faults)} of {asked} calls failed: {faults[-1]}", compare=False)

    def _drop_beaten(self, size: int) -> None:
        items = self.order[:size]
        for entry in self.alive[1:]:
            bound = against(entry, self.leader, items, self._metric)
            if bound is not None and bound[1] < 0:
                self._fall(entry, size, f"interval {100 * bound[0]:+.1f} to {100 * bound[1]:+.1f} points")

    def _halve(self, size: int, keep: int) -> None:
        """The better half stays of those that met no more than these items, and raw; few items decide nothing."""
        if size < min(FEWEST, len(self.order)):
            return
        equals = [entry for entry in self.alive if len(entry.samples) <= size and not _raw(entry)]
        others = sum(not _raw(entry) for entry in self.alive) - len(equals)
        most = max(1, keep - others, math.ceil(len(equals) / 2))
        for entry in equals[most:]:
            same = entry.mean(self.order[:size], self._metric) == self.leader.mean(self.order[:size], self._metric)
            self._fall(entry, size, "no better and dearer" if same else "the worse half falls")

    # ----------------------------------------------------------------------- words

    def _fall(self, entry: Entry, size: int, why: str, compare: bool = True) -> None:
        self.alive.remove(entry)
        if not entry.samples:
            return
        shared = self._shared(entry, self.leader, size) if self.alive else ()
        seen = f"{self._compared(entry, self.leader, shared)}, " if compare and shared else ""
        entry.fate = f"fell in round {max(1, self._round)}: {seen}{why}"

    def _shared(self, entry: Entry, other: Entry, size: int | None = None) -> tuple[Item, ...]:
        both = [item for item in self.order[:size] if item.id in entry.samples and item.id in other.samples]
        return tuple(both)

    def _compared(self, entry: Entry, other: Entry, items: Sequence[Item]) -> str:
        mine, other_mean = entry.mean(items, self._metric), other.mean(items, self._metric)
        on = f"all {len(items)} dev items" if len(items) == len(self.order) else f"the same {len(items)} items"
        return f"{percent(mine)} against {percent(other_mean)} of {other.arm.prompt.name} on {on}"


def percent(mean: float | None) -> str:
    """A share as a person reads it."""
    return "unscored" if mean is None else f"{100 * mean:.1f} %"


def _raw(entry: Entry) -> bool:
    return entry.arm.origin == "raw"
