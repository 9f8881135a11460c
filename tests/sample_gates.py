"""Gates, looks and families of a sample experiment, computed from its samples by a plain normal interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sample_records import CREATED

from harness import records as r
from harness.store import ExperimentStore

ALPHA = 0.05
HOPELESS = -9.0
"""Where no pass level is left, there is no lower end: the gate behaves as if it were far away."""


@dataclass(frozen=True)
class Gate:
    """One gate to be judged, as the sample store asks for it."""

    suite: str
    against: str | None = None
    margin: float | None = None
    relative: bool = False
    worst: str | None = None
    limit: float | None = None
    metric: str = "primary"
    blocking: bool = True


@dataclass(frozen=True)
class Levels:
    """What this look may spend, and each gate's share of the family's wrong FAILs."""

    passing: float = 0.025
    failing: float = 0.025


def score(sample: r.SampleRecord, metric: str) -> float | None:
    """The measure named, or the score."""
    return sample.latency_s if metric.startswith("latency") else sample.scores["exact_match"]


def paired(
    experiment: ExperimentStore, suite: str, seeds: Sequence[str], against: str, metric: str = "primary", cut: str = ""
) -> list[tuple[float, float]]:
    """Scores of a candidate (the mean over its seeds) and of the reference, on the items that both have."""
    sides = [
        {s.id: score(s, metric) for s in experiment.samples(f"{who}--{suite}--test") if cut in (*s.slices.values(), "")}
        for who in (*seeds, against)
    ]
    shared = [tuple(side.get(name) for side in sides) for name in sides[-1]]
    whole = [[x for x in values if x is not None] for values in shared]
    return [(statistics.fmean(v[:-1]), v[-1]) for v in whole if len(v) == len(sides)]


def ends(deltas: Sequence[float], levels: Levels) -> tuple[float | None, float, float]:
    """Low end, mean and high end of a normal interval, each end at its own level."""
    mean = statistics.fmean(deltas)
    error = max(statistics.stdev(deltas), 1e-3) / math.sqrt(len(deltas))
    z = statistics.NormalDist().inv_cdf
    low = mean + z(levels.passing) * error if levels.passing else None
    return low, mean, mean - z(levels.failing) * error


def compare(
    experiment: ExperimentStore,
    suite: str,
    seeds: Sequence[str],
    against: str,
    metric: str = "primary",
    factor: float = 1,
) -> r.ComparisonRecord:
    """Two runs joined item by item, with a normal interval of the paired difference."""
    pairs = paired(experiment, suite, seeds, against, metric)
    sign = -1 if metric.startswith("latency") else 1
    low, mean, high = ends([sign * (a - factor * b) for a, b in pairs], Levels())
    asked = len(experiment.samples(f"{seeds[0]}--{suite}--test"))
    return r.ComparisonRecord(
        suite=suite,
        task="*",
        metric=metric,
        higher_is_better=sign > 0,
        claim="recipe" if len(seeds) > 1 else "artifact",
        seeds=len(seeds),
        candidate="+".join(f"{who}--{suite}--test" for who in seeds),
        reference=f"{against}--{suite}--test",
        candidate_mean=statistics.fmean(a for a, _ in pairs),
        reference_mean=statistics.fmean(b for _, b in pairs),
        factor=factor,
        difference=r.Interval(value=mean, low=low, high=high, confidence=0.95, n=len(pairs), method="paired-normal"),
        won=sum(sign * a > sign * b for a, b in pairs),
        lost=sum(sign * a < sign * b for a, b in pairs),
        tied=sum(a == b for a, b in pairs),
        unscored=asked - len(pairs),
    )


def outcome_of(low: float | None, high: float, margin: float) -> r.Outcome:
    """The signed gate of the design."""
    low = HOPELESS if low is None else low
    return "pass" if low > margin else "fail" if high < margin else "inconclusive"


def judge_difference(
    experiment: ExperimentStore, gate: Gate, name: str, seeds: Sequence[str], levels: Levels
) -> r.GateRecord:
    """A gate on a difference: of all items, of the worst slice, or with a relative margin."""
    assert gate.against is not None
    assert gate.margin is not None
    factor = 1 + gate.margin if gate.relative else 1.0
    margin = 0.0 if gate.relative else gate.margin
    comparison = compare(experiment, gate.suite, seeds, gate.against, gate.metric, factor)
    sign = 1 if comparison.higher_is_better else -1
    pairs = paired(experiment, gate.suite, seeds, gate.against, gate.metric)
    low, mean, high = ends([sign * (a - factor * b) for a, b in pairs], levels)
    slices = worst_slices(experiment, gate, seeds, levels, margin) if gate.worst else ()
    order: tuple[r.Outcome, ...] = ("fail", "inconclusive", "pass")
    outcome = min((s.outcome for s in slices), key=order.index, default=outcome_of(low, high, margin))
    shown = "none" if low is None else f"{low:+.3f}"
    return r.GateRecord(
        candidate=name,
        suite=gate.suite,
        task="*",
        slice=f"worst of {gate.worst}" if gate.worst else None,
        metric=gate.metric,
        against=gate.against,
        min_delta=gate.margin,
        relative=gate.relative,
        blocking=gate.blocking,
        outcome=outcome,
        reason=f"{mean:+.3f} [{shown}, {high:+.3f}], n = {len(pairs)}, margin {margin:+.3f}: {outcome}.",
        low=low,
        high=high,
        pass_level=levels.passing,
        fail_level=levels.failing,
        comparison=comparison,
        slices=slices,
    )


def worst_slices(
    experiment: ExperimentStore, gate: Gate, seeds: Sequence[str], levels: Levels, margin: float
) -> tuple[r.SliceOutcome, ...]:
    """Every language judged by itself."""
    made = []
    for language in ("de", "en", "fr"):
        pairs = paired(experiment, gate.suite, seeds, gate.against or "", gate.metric, cut=language)
        low, mean, high = ends([a - b for a, b in pairs], levels)
        outcome = outcome_of(low, high, margin)
        made.append(
            r.SliceOutcome(slice=f"language={language}", outcome=outcome, n=len(pairs), value=mean, low=low, high=high)
        )
    return tuple(sorted(made, key=lambda one: one.value or 0.0))


def judge_limit(gate: Gate, name: str, levels: Levels) -> r.GateRecord:
    """A latency that may be at most so high."""
    estimate = r.Interval(value=0.34, low=0.31, high=0.41, confidence=0.95, n=80, method="order-statistics")
    outcome: r.Outcome = "pass" if gate.limit and gate.limit > 0.42 else "fail"
    return r.GateRecord(
        candidate=name,
        rule="at_most",
        suite=gate.suite,
        task="*",
        metric=gate.metric,
        against=None,
        min_delta=None,
        limit=gate.limit,
        blocking=gate.blocking,
        outcome=outcome,
        reason=f"0.34 s [0.30, 0.42], n = 80, limit {gate.limit} s: {outcome}.",
        low=0.30,
        high=0.42,
        pass_level=levels.passing,
        fail_level=levels.failing,
        comparison=None,
        estimate=estimate,
    )


def judge_critical(experiment: ExperimentStore, gate: Gate, name: str) -> r.GateRecord:
    """Items that must stay right."""
    answers = experiment.samples(f"{name}--must-not-break-{gate.suite.removesuffix('.jsonl')}--test")
    broken = tuple(s.id for s in answers if s.scores["exact_match"] == 0)
    told = f"{len(broken)} of {len(answers)} items are wrong" if broken else f"All {len(answers)} items are right"
    return r.GateRecord(
        candidate=name,
        rule="must_not_break",
        suite=gate.suite,
        task="*",
        metric="exact_match",
        against=None,
        min_delta=None,
        blocking=gate.blocking,
        outcome="fail" if broken else "pass",
        reason=f"{told}.",
        comparison=None,
        broken=broken,
    )


def judge_gate(
    experiment: ExperimentStore, gate: Gate, name: str, seeds: Sequence[str], levels: Levels
) -> r.GateRecord:
    """One gate on one finalist, by whatever rule it has."""
    if gate.against is not None:
        return judge_difference(experiment, gate, name, seeds, levels)
    return judge_limit(gate, name, levels) if gate.limit else judge_critical(experiment, gate, name)


def look(name: str, number: int, budget: int = 5) -> r.LookRecord:
    """A look at the test split: each spends half of what is left."""
    return r.LookRecord(
        suite="task",
        fingerprint="ef" * 32,
        sketch=("0" * 16,),
        candidate_digest=f"{number:02d}" * 32,
        test_digest="ab" * 32,
        experiment="first--00000000",
        candidate=name,
        number=number,
        budget=budget,
        spending="halving",
        alpha=ALPHA,
        level=ALPHA / 2**number if number <= budget else 0.0,
        created=CREATED,
    )
