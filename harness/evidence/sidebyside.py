"""Samples of several candidates side by side, what flipped between them, and the items that broke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.compare import Change, change
from harness.records import GateRecord, RunRecord, SampleRecord
from harness.store import ExperimentStore
from harness.suites import must_not_break

Flip = Change


@dataclass(frozen=True)
class Joined:
    """One item with the answers of several candidates side by side."""

    task: str
    id: str
    question: str
    target: str
    metric: str
    slices: dict[str, str]
    answers: dict[str, SampleRecord] = field(default_factory=dict)

    def score(self, name: str) -> float | None:
        """The primary score of one candidate; None when unscored."""
        sample = self.answers.get(name)
        return sample.scores.get(self.metric) if sample else None

    def flip(self, candidate: str, reference: str) -> Flip:
        """What the candidate did to this item, seen from the reference."""
        return change(self.score(candidate), self.score(reference))


def join(experiment: ExperimentStore, runs: Sequence[RunRecord], cut: str | None = None) -> list[Joined]:
    """The samples of several runs of one suite side by side, in the order of the first run.

    cut: `name=value` keeps the items with this property; `worst of name` and None keep all.
    Where a run ended early, the items that it was never asked are left out.
    """
    rows: dict[tuple[str, str, int], Joined] = {}
    for run in runs:
        for sample in experiment.samples(run.id):
            metric = run.primary.get(sample.task, next(iter(sample.scores), ""))
            blank = Joined(sample.task, sample.id, sample.question, sample.target, metric, sample.slices)
            row = rows.setdefault((sample.task, sample.id, sample.repeat), blank)
            row.answers[run.candidate.name] = sample
    asked = [run.candidate.name for run in runs if run.stopped]
    return [row for row in rows.values() if row.answers.keys() >= set(asked) and _is_in(row, cut)]


@dataclass(frozen=True)
class Broken:
    """An item that had to stay right and is wrong; without texts where no run holds its answer."""

    id: str
    question: str = ""
    target: str = ""
    answer: str | None = None


def broken_items(experiment: ExperimentStore, gate: GateRecord, runs: Sequence[RunRecord]) -> list[Broken]:
    """The must-not-break items of a gate that are wrong, with a wrong answer to each.

    runs: those of the candidate that the gate judged; of several seeds the first that has it wrong is shown.
    """
    told: dict[str, Broken] = {}
    for run in runs:
        if run.suite != must_not_break(gate.suite):
            continue
        for sample in experiment.samples(run.id):
            score = sample.scores.get(run.primary.get(sample.task, ""))
            if score is not None and score < 1:
                told.setdefault(sample.id, Broken(sample.id, sample.question, sample.target, sample.answer))
    return [told.get(name, Broken(name)) for name in gate.broken]


def _is_in(row: Joined, cut: str | None) -> bool:
    name, equals, value = (cut or "").partition("=")
    return not equals or row.slices.get(name) == value
