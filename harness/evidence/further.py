"""What was measured beside the score that decides: every other metric of every test run."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evidence.gathered import Evidence, contestants
from harness.records import Interval


@dataclass(frozen=True)
class Further:
    """One metric of one candidate on one task of a suite."""

    candidate: str
    suite: str
    task: str
    metric: str
    estimate: Interval
    unscored: int


def further(evidence: Evidence) -> list[Further]:
    """Every metric but the primary ones, by suite, task and metric; contestants in their order in each."""
    place = {contestant.name: contestant.order for contestant in contestants(evidence)}
    found = [
        Further(run.candidate.name, run.suite, one.task, one.metric, one.estimate, one.unscored)
        for run in evidence.runs
        if run.split == "test"
        for one in run.metrics
        if one.task != "*" and one.metric != run.primary.get(one.task)
    ]
    return sorted(found, key=lambda f: (f.suite != "task", f.suite, f.task, f.metric, place[f.candidate]))
