"""Joined arrays: items with their values on both sides (Pairs) or of one run (Single), and every number asked of them.

Made once, by `join` and `alone`. Intervals are computed when they are asked for, and kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.compare.asked import Asked, betting_interval
from harness.compare.yardsticks import Yardstick, averaged
from harness.records import Claim, ComparisonRecord, Interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Unscored = Literal["left out", "lost", "won"]
"""What becomes of items without a score. `lost`: each is completed as the candidate's outright loss, 0 (against 1
of the reference). `won`: as its outright gain, 1 (against 0). Items do not fail at random, so gates ask for both."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What is measured, and on which items."""

    suite: str
    task: str
    slice: str | None
    metric: str
    yardstick: Yardstick
    units: NDArray[np.intp] | None
    """Independent unit of each item, (n,); None: every item stands alone."""
    repeats: int
    """Most answers per item that were averaged first."""
    asked: Asked | None
    """The order of asking, when the run was stopped early."""

    def clusters(self, kept: Bools) -> list[int] | None:
        """Labels of the kept items, as `harness.stats` takes them."""
        return None if self.units is None else self.units[kept].tolist()

    def imagined(self, unscored: Unscored) -> float:
        """The candidate's score on an item that it is imagined to have lost or won."""
        return float((unscored == "won") == self.yardstick.higher_is_better)

    def bounded(self, *values: Floats) -> bool:
        """Whether these are scores per sample, all in [0, 1]."""
        return self.yardstick.of_scores and all(bool(((x >= 0) & (x <= 1)).all()) for x in values)


@dataclass(frozen=True, eq=False)
class Measured(ABC):
    """What Pairs and Single share: how many items, and intervals that are kept."""

    ground: Ground
    _intervals: dict[tuple[float, Unscored], Interval] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    @abstractmethod
    def kept(self) -> Bools:
        """Which items have a score on every side, (n,)."""

    @cached_property
    @abstractmethod
    def bounded(self) -> bool:
        """Whether these are scores in [0, 1], so that unscored items can be imagined lost or won."""

    @property
    def n(self) -> int:
        """Items with a score on every side."""
        return int(self.kept.sum())

    @property
    def unscored(self) -> int:
        """Items without."""
        return len(self.kept) - self.n

    @property
    def clusters(self) -> int | None:
        """Independent units among the scored items; None when every item stands alone."""
        return None if self.ground.units is None else len(np.unique(self.ground.units[self.kept]))

    @property
    def repeats(self) -> int:
        """Most answers per item that were averaged first."""
        return self.ground.repeats

    @property
    def higher_is_better(self) -> bool:
        """False for latency, tokens and cost."""
        return self.ground.yardstick.higher_is_better

    def interval(self, confidence: float, unscored: Unscored = "left out") -> Interval:
        """Two-sided interval over scored items, unless told otherwise; computed once for each argument.

        With a one-sided chance a of missing the truth at either end, confidence is 1 - 2a. Method by metric and
        claim: see `harness.stats`; a run that was stopped early has the anytime-valid `betting` interval.
        Raises ValueError for unscored items imagined lost or won where scores are not `bounded`.
        """
        at = (confidence, unscored if self.unscored else "left out")
        if at[1] != "left out" and not self.bounded:
            raise ValueError(f"{self.ground.metric}: unscored items cannot be imagined {unscored}, nothing bounds them")
        if at not in self._intervals:
            self._intervals[at] = self._interval(*at)
        return self._intervals[at]

    @abstractmethod
    def _interval(self, confidence: float, unscored: Unscored) -> Interval: ...


@dataclass(frozen=True, eq=False)
class Single(Measured):
    """One run's own value: what a gate with a limit and no reference asks for. Intervals are in the metric's unit."""

    run: str
    """Run id."""
    values: Floats
    """Of all items, (n,) or (n, p); NaN where unscored."""

    @cached_property
    def kept(self) -> Bools:
        return _scored(self.values)

    @cached_property
    def bounded(self) -> bool:
        return self.ground.bounded(_taken(self.values, self.kept))

    def _interval(self, confidence: float, unscored: Unscored) -> Interval:
        ground, kept, x = self.ground, self.kept, self.values
        if unscored != "left out":
            x, kept = np.where(kept, x, ground.imagined(unscored)), np.ones_like(kept)
        if ground.asked is not None:
            return betting_interval(x, kept, ground.units, ground.asked, (0.0, 1.0), confidence)
        if not kept.any():
            return _nothing(confidence)
        return ground.yardstick.estimator.single(_taken(x, kept), ground.clusters(kept), confidence)


@dataclass(frozen=True, eq=False)
class Pairs(Measured):
    """Candidate and reference on the same items. Intervals say how much better the candidate is.

    That is candidate minus factor * reference; where less is better, the other way round.
    """

    candidate: str
    """Run id; several joined by `+`."""
    reference: str
    """Run id."""
    claim: Claim
    factor: float
    """What the reference is multiplied with; not 1 for a relative margin."""
    ours: Floats
    """The candidates' values of all items, (seeds, n) or (seeds, n, p); NaN where unscored."""
    theirs: Floats
    """The reference's, (n,) or (n, p)."""
    noise: Floats | None = None
    """Variance of each item's difference that comes from its repeats, (n,); None where nothing was repeated."""

    @cached_property
    def kept(self) -> Bools:
        kept = _scored(self.theirs)
        for side in self.ours:
            kept &= _scored(side)
        return kept

    @cached_property
    def bounded(self) -> bool:
        return self.ground.bounded(*(_taken(side, self.kept) for side in (*self.ours, self.theirs)))

    @property
    def seeds(self) -> int:
        """Trainings on the candidate's side."""
        return len(self.ours)

    @cached_property
    def all_zero(self) -> bool:
        """Whether every value is 0 on both sides: a number that never moves shows nothing."""
        return not any(side.any() for side in self._of_items)

    @cached_property
    def _scored(self) -> tuple[Floats, Floats]:
        """Both sides' scored items, the candidate's averaged over seeds."""
        return _taken(averaged(self.ours), self.kept), _taken(self.theirs, self.kept)

    @cached_property
    def _of_items(self) -> tuple[Floats, Floats]:
        estimator, (a, b) = self.ground.yardstick.estimator, self._scored
        return estimator.of_items(a), estimator.of_items(b)

    def _interval(self, confidence: float, unscored: Unscored) -> Interval:
        found = self._difference(confidence, unscored)
        return found if self.higher_is_better else _negated(found)

    def _difference(self, confidence: float, unscored: Unscored) -> Interval:
        """Of candidate minus factor * reference, whichever way is better."""
        ground, kept, ours, theirs = self.ground, self.kept, self.ours, self.theirs
        if unscored != "left out":
            imagined = ground.imagined(unscored)
            ours, theirs = np.where(kept, ours, imagined), np.where(kept, theirs, 1 - imagined)
            kept = np.ones_like(kept)
        if ground.asked is not None:
            x, limits = ours[0] - self.factor * theirs, (-self.factor, 1.0)
            return betting_interval(x, kept, ground.units, ground.asked, limits, confidence)
        if not kept.any():
            return _nothing(confidence)
        b, clusters = _taken(theirs, kept), ground.clusters(kept)
        if self.claim == "recipe":
            scores = ground.yardstick.of_scores
            return stats.recipe_interval(ours[:, kept], b, clusters, confidence, factor=self.factor, shares=scores)
        return ground.yardstick.estimator.paired(_taken(averaged(ours), kept), b, clusters, confidence, self.factor)

    def repeats_share(self, confidence: float) -> float:
        """Share of the difference's variance that endless repeats would take away; 0 where nothing was repeated."""
        found = self.interval(confidence)
        if self.noise is None or found.low is None or found.high is None or found.high <= found.low:
            return 0.0
        error = (found.high - found.low) / 2 / stats.normal_quantile(confidence)
        return min(float(self.noise[self.kept].sum()) / self.n**2 / error**2, 1.0)

    def record(self, confidence: float = 0.95) -> ComparisonRecord:
        """The comparison as it is stored, with its interval at one confidence."""
        won, lost = self._won_and_lost()
        value = self.ground.yardstick.estimator.value
        a, b = self._scored
        return ComparisonRecord(
            suite=self.ground.suite,
            task=self.ground.task,
            slice=self.ground.slice,
            metric=self.ground.metric,
            higher_is_better=self.higher_is_better,
            claim=self.claim,
            seeds=self.seeds,
            repeats=self.repeats,
            candidate=self.candidate,
            reference=self.reference,
            candidate_mean=value(a) if self.n else None,
            reference_mean=value(b) if self.n else None,
            factor=self.factor,
            difference=self.interval(confidence),
            won=won,
            lost=lost,
            tied=self.n - won - lost,
            unscored=self.unscored,
        )

    def _won_and_lost(self) -> tuple[int, int]:
        a, b = self._of_items
        more, less = int((a > b).sum()), int((a < b).sum())
        return (more, less) if self.higher_is_better else (less, more)


def _scored(values: Floats) -> Bools:
    """Which items have finite values: (n,) or (n, p) to (n,)."""
    finite = np.isfinite(values)
    return finite if values.ndim == 1 else np.asarray(finite.all(axis=1))


def _taken(values: Floats, kept: Bools) -> Floats:
    """The kept items of (n,) or (n, p); rows of a corpus metric can be large, so all of them are not copied."""
    return values if kept.all() else values[kept]


def _nothing(confidence: float) -> Interval:
    return Interval(value=None, low=None, high=None, confidence=confidence, n=0, method="none")


def _negated(found: Interval) -> Interval:
    value, low, high = (None if x is None else -x for x in (found.value, found.high, found.low))
    return found.model_copy(update={"value": value, "low": low, "high": high})
