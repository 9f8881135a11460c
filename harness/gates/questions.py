"""The single questions behind gates: one margin, one piece of evidence, asked at any level of error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.compare import HUMAN, LEAST_VOTES, Pairs, Single, Unscored
from harness.gates.rules import GateSpec
from harness.records import Interval, Outcome


@dataclass(frozen=True, slots=True)
class Answered:
    """Must-not-break items as the candidate answered them, by id."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    unscored: tuple[str, ...]


Part = Pairs | Single
Evidence = Part | Mapping[str, Part] | Answered | None
"""What a gate is judged on: two runs, one run, either for each of several parts, must-not-break answers, or nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """Does what was measured lie on the right side of the margin? Yes and no each have their own level of error."""

    gate: GateSpec
    entrant: str
    slice: str | None
    """`name=value`, for one part of a gate that has to hold on several."""
    evidence: Pairs | Single | None
    pass_level: float
    """One-sided chance of a wrong yes; 0 when none may be spent."""
    max_unscored: float
    """Largest share of items without a score at which anything is decided."""

    @property
    def name(self) -> str:
        """Short name, e.g. for the family."""
        return f"{self.gate.name}: {self.slice}" if self.slice else self.gate.name

    @property
    def below(self) -> bool:
        """Whether the right side is below: a limit from above."""
        return self.gate.rule == "at_most"

    @property
    def blind(self) -> bool:
        """Whether items went unscored that could have been anything: seconds and corpus metrics have no worst case."""
        return self.evidence is not None and self.evidence.unscored > 0 and not self.evidence.bounded

    @property
    def n(self) -> int:
        """Items that entered."""
        return self.evidence.n if self.evidence is not None else 0

    @property
    def value(self) -> float | None:
        """Point estimate, in the metric's own unit."""
        return self.evidence.interval(0.95).value if self.evidence is not None else None

    def passes(self) -> bool:
        """Whether it holds at the level of its look, and would whatever unscored items had been."""
        return self.seems_to_pass() and not self.blind and self.end(self.pass_level, passing=True, worst=True) > 0

    def seems_to_pass(self) -> bool:
        """The same over scored items alone."""
        return self.undecidable() is None and self.end(self.pass_level, passing=True) > 0

    def fails(self, level: float) -> bool:
        """Whether it is refuted at this level, and would be whatever unscored items had been."""
        return self.seems_to_fail(level) and not self.blind and self.end(level, passing=False, worst=True) < 0

    def seems_to_fail(self, level: float) -> bool:
        """The same over scored items alone."""
        return self.undecidable() is None and self.end(level, passing=False) < 0

    def outcome(self, level: float) -> Outcome:
        """Pass, fail at this level, or neither."""
        return "pass" if self.passes() else "fail" if self.fails(level) else "inconclusive"

    def end(self, level: float, *, passing: bool, worst: bool = False) -> float:
        """How far on the right side of the margin the end of the interval lies that has to lie there.

        passing: the end nearest to the wrong side, which shows a pass; else the other one, whose being on the wrong
        side shows a fail. worst: with every unscored item against the outcome. Infinite where there is no end.
        """
        interval = self.interval(level, self._imagined(passing) if worst else "left out")
        low = passing is not self.below
        found = None if interval is None else interval.low if low else interval.high
        if found is None:
            return -math.inf if passing else math.inf
        return (found - self.gate.margin) * (-1 if self.below else 1)

    def interval(self, level: float, unscored: Unscored = "left out") -> Interval | None:
        """The interval whose ends each err with `level`; None without evidence or at level 0."""
        return None if self.evidence is None or level <= 0 else self.evidence.interval(1 - 2 * level, unscored)

    def nearness(self) -> float:
        """How far the end that would show a pass lies on the right side, at the usual 2.5 %: the least is the worst."""
        return self.end(0.025, passing=True)

    def ends(self, fail_level: float) -> tuple[float | None, float | None]:
        """Lower and upper end that decide, in the metric's unit: one at the pass level, one at the fail level."""
        levels = (fail_level, self.pass_level) if self.below else (self.pass_level, fail_level)
        low, high = (self.interval(level) for level in levels)
        return (None if low is None else low.low), (None if high is None else high.high)

    def undecidable(self) -> str | None:
        """Why the evidence cannot decide anything, or None."""
        if self.evidence is None:
            return "There is no evidence, so nothing has been shown; evaluate the candidate and its reference here."
        if self.gate.metric == HUMAN and self.n < LEAST_VOTES:
            return (
                f"People have voted on {self.n} pairs of answers and {LEAST_VOTES} are needed; vote on the page Review "
                "of `harness ui`, then run the experiment again."
            )
        unscored, asked = self.evidence.unscored, self.evidence.n + self.evidence.unscored
        if self.evidence.n == 0:
            return f"None of {asked} items has a score on both sides; see the errors on the samples."
        if unscored > self.max_unscored * asked:
            return (
                f"{unscored} of {asked} items ({unscored / asked:.1%}) have no score, more than the "
                f"{self.max_unscored:.1%} allowed; {REPAIR}."
            )
        if isinstance(self.evidence, Pairs) and self.evidence.all_zero:
            return (
                f"Every score is 0 on both sides over {self.evidence.n} items: a score that never moves shows nothing; "
                "check the metric and the answers, or use items that one side gets right."
            )
        interval = self.evidence.interval(0.95)
        if interval.low is None and interval.high is None:
            why = (
                "every score is the same" if interval.method == "constant" else "they are not independent of each other"
            )
            return f"There is no interval over {self.evidence.n} items: {why}; use items that vary and are independent."
        return None

    def _imagined(self, passing: bool) -> Unscored:
        """What unscored items would have to be to spoil the outcome; left out where no score bounds them."""
        if self.evidence is None or not self.evidence.unscored or not self.evidence.bounded:
            return "left out"
        return "lost" if passing is not self.below else "won"


REPAIR = "look at the errors on those samples, repair what failed, and evaluate again under another experiment name"
"""What to do about unscored items: a finished run is never asked again."""
