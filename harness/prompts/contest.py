"""The contest: arms meet the same items in growing rounds, and fall when they will not win.

An arm falls when a paired bound on the shared items says that it is worse than the leader (racing: Maron & Moore
1994, "Hoeffding races"; Birattari et al. 2002 and 2010, F-race and iterated F-race), when too many of its calls fail,
or, since a budget must be met, with the worse half of a round (successive halving: Jamieson & Talwalkar 2016,
"Non-stochastic best arm identification"). The raw prompt falls by a bound alone, as long as the budget lasts for two.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Protocol

from harness.errors import EngineError, Problem
from harness.evaluate import MAX_FAILED
from harness.prompts.faults import REPAIR
from harness.prompts.meter import Arm, Spent
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

    def ask_together(self, asked: Sequence[tuple[Arm, Sequence[Item]]]) -> list[list[SampleRecord]]:
        """Ask each arm its items."""
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

    def heat(self, arms: Sequence[Arm], allowance: int, keep: int, *, to_the_end: bool = False) -> None:
        """Race new arms against those that are alive until `keep` are left, or the allowance is spent.

        Each round spends an equal part of what is left of the allowance, so that what a bound saved goes to those
        that stay. to_the_end: go on to the last item; no half falls that the budget can carry there.
        Raises EngineError when no arm gets an answer.
        """
        known = {entry.arm.key for entry in (*self.entries.values(), *self.alive)}
        new = {arm.key: arm for arm in reversed(arms) if arm.key not in known}  # of two alike the first
        self.alive += [Entry(arm) for arm in list(new.values())[::-1]]
        end, size = self._asker.left - allowance, 0
        while self.alive:
            size = self._next_size(size, end, keep)
            if not self._fit(size, end, keep):
                break
            self._ask(size)
            self._drop_failing(size)
            self._sort(size)
            self._drop_beaten(size)
            most = max(len(entry.samples) for entry in self.alive)
            if not (to_the_end and self._affordable(len(self.order), end)):
                self._halve(size, keep)
            few = len(self._contenders()) <= keep
            if size >= len(self.order) or (few and size >= most and not to_the_end):
                break
        self.alive = [entry for entry in self.alive if entry.samples]

    def finish(self) -> Entry:
        """The best of the arms that met every item; those that stayed meet what they owe, as far as the budget goes.

        Where none can meet them all, the best of those that stayed.
        """
        for entry in (*self.alive, *self.entries.values()):
            cost = self._asker.cost(entry.arm, self.order)
            may = 0 < cost <= self._asker.left and not entry.fails(self.order)
            if may and (entry in self.alive or not self._met()):
                with contextlib.suppress(Spent):  # it takes more tokens than foreseen
                    self._take([entry], self.order)
        self._drop_failing(len(self.order))
        met = self._met() or self.alive
        shared = self._scored_by(met, self.order)
        best = min(met, key=lambda entry: entry.rank(shared, self._metric))
        for entry in self.alive:
            if entry is not best:
                entry.fate = "runner-up: " + self._compared(entry, best, self._shared(entry, best))
        best.fate = "winner"
        return best

    def _met(self) -> list[Entry]:
        """Those that met every item and may win: that stayed, or else any."""
        met = [entry for entry in self.entries.values() if self._asker.cost(entry.arm, self.order) == 0]
        met = [entry for entry in met if entry.samples and not entry.fails(self.order)]
        return [entry for entry in met if entry in self.alive] or met

    # ------------------------------------------------------------------- one round

    def _next_size(self, size: int, end: int, keep: int) -> int:
        """Up to which item the next round asks: as far as its part of the allowance goes, and a few in any case."""
        rounds = max(1, math.ceil(math.log2(len(self._contenders()) / keep)))
        share = (self._asker.left - end) / rounds
        least = min(len(self.order), max(FEWEST, size + FEWEST // 2))
        low, high = least, len(self.order)
        while low < high:
            middle = (low + high + 1) // 2
            cost = sum(self._asker.cost(entry.arm, self.order[:middle]) for entry in self.alive)
            low, high = (middle, high) if cost <= share else (low, middle - 1)
        return low

    def _contenders(self) -> list[Entry]:
        """All that are alive, and raw only while it is alone: it is no part of what is halved."""
        return [entry for entry in self.alive if not _raw(entry)] or self.alive

    def _ask(self, size: int) -> None:
        items = self.order[:size]
        owing = [entry for entry in self.alive if self._asker.cost(entry.arm, items) or not entry.samples]
        for entry in owing:
            entry.rung = self._round
        self._take(owing, items)
        self._round += 1

    def _take(self, entries: Sequence[Entry], items: Sequence[Item]) -> None:
        answered = self._asker.ask_together([(entry.arm, items) for entry in entries])
        for entry, samples in zip(entries, answered, strict=True):
            entry.samples |= {item.id: sample for item, sample in zip(items, samples, strict=True)}
            self.entries[entry.arm.key] = entry

    def _sort(self, size: int) -> None:
        """Those that met most items first, best first among them: a lucky start does not make a leader."""
        items = self._scored_by([entry for entry in self.alive if entry.samples], self.order[:size])
        self.alive.sort(key=lambda entry: (-len(entry.samples), entry.rank(items, self._metric)))

    def _fit(self, size: int, end: int, keep: int) -> bool:
        """Let arms fall until the next round is affordable; whether it is with those that stay.

        First those that were asked nothing, the least promising first; then the worst on the items that all met.
        """
        while not self._affordable(size, end):
            loose = [entry for entry in self.alive[1:] if not _raw(entry)]
            unasked = [entry for entry in loose if not entry.samples]
            if unasked:
                self.alive.remove(unasked[-1])
            elif loose and len(self._contenders()) > keep:
                shared = self.order[: min(len(entry.samples) for entry in self.alive)]
                worst = max(loose, key=lambda entry: entry.rank(shared, self._metric))
                self._fall(worst, size, "the budget goes to better ones")
            else:
                return False
        return True

    def _affordable(self, size: int, end: int) -> bool:
        """Whether the round leaves the allowance, and enough for the dearest arm to meet all items."""
        cost = sum(self._asker.cost(entry.arm, self.order[:size]) for entry in self.alive)
        rest = max(self._asker.cost(entry.arm, self.order[size:]) for entry in self.alive)
        return cost <= self._asker.left - end and cost + rest <= self._asker.left

    def _drop_failing(self, size: int) -> None:
        """Those fall that could not be evaluated; where none stays, the best of those that fell otherwise is back."""
        failing = [entry for entry in self.alive if entry.fails(self.order)]
        for entry in failing:
            faults = entry.faults(self.order)
            self._fall(entry, size, f"{len(faults)} of {len(entry.samples)} calls failed: {faults[-1]}", compare=False)
        if self.alive:
            return
        able = [entry for entry in self.entries.values() if not entry.fails(self.order)]
        if not able:
            faults = failing[0].faults(self.order)
            what = f"calls of every arm failed, {len(faults)} of {len(failing[0].samples)} of the last; {faults[-1]}"
            allowed = f"At most {MAX_FAILED:.0%} of the dev items may fail"
            raise EngineError(Problem("prompt race", what, allowed, REPAIR))
        self.alive = [min(able, key=lambda one: (-len(one.samples), one.rank(self.order, self._metric)))]
        self.alive[0].fate = ""

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
        others = len(self._contenders()) - len(equals)
        most = max(1, keep - others, math.ceil(len(equals) / 2))
        for entry in equals[most:]:
            same = entry.mean(self.order[:size], self._metric) == self.leader.mean(self.order[:size], self._metric)
            self._fall(entry, size, "no better and no cheaper" if same else "the worse half falls")

    # ----------------------------------------------------------------------- words

    def _scored_by(self, entries: Sequence[Entry], items: Sequence[Item]) -> tuple[Item, ...]:
        """The items without those that one of the arms was asked and has no score on: means are over the same ones."""
        lacking = {
            id for entry in entries for id, sample in entry.samples.items() if sample.scores[self._metric] is None
        }
        return tuple(item for item in items if item.id not in lacking) or tuple(items)

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
