"""One experiment's records, read once, its contestants in order and its samples side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.records import (
    ComparisonRecord,
    DataRecord,
    GateRecord,
    Interval,
    PromptRecord,
    Provenance,
    RunRecord,
    SampleRecord,
    SeedTraining,
    TrainingRecord,
    VerdictRecord,
)
from harness.store import ExperimentStore

RAW, BAR = "base", "best_prompt"
"""Names of the two contestants that every experiment has: the raw base, and the bar to beat."""

Flip = Literal["won", "lost", "tied", "unscored"]


@dataclass(frozen=True)
class Evidence:
    """All records of one experiment, read once; None where a stage is not done."""

    id: str
    name: str
    spec: Mapping[str, Any]
    provenance: Provenance | None
    data: DataRecord | None
    prompt: PromptRecord | None
    training: TrainingRecord | None
    verdict: VerdictRecord | None
    runs: tuple[RunRecord, ...]
    comparisons: tuple[ComparisonRecord, ...]

    @property
    def decision(self) -> str:
        """The verdict's decision, or `unfinished`."""
        return self.verdict.decision if self.verdict else "unfinished"

    @property
    def gates(self) -> tuple[GateRecord, ...]:
        """Every gate, or none while there is no verdict."""
        return self.verdict.gates if self.verdict else ()

    @property
    def hypothesis(self) -> str:
        """The claim as the user wrote it."""
        return self.verdict.hypothesis if self.verdict else str(self.spec.get("hypothesis") or "")

    @property
    def missing(self) -> tuple[str, ...]:
        """Stages without a record. A prompt that suffices leaves nothing to train."""
        stages = {
            "provenance": self.provenance,
            "data": self.data,
            "prompt search": self.prompt,
            "training": self.training or self.decision == "prompt_suffices" or None,
            "evaluation": self.runs or None,
            "verdict": self.verdict,
        }
        return tuple(name for name, record in stages.items() if record is None)


@dataclass(frozen=True)
class Contestant:
    """One candidate with all that was measured of it."""

    name: str
    order: int
    method: str
    seed: int | None
    runs: Mapping[str, RunRecord]
    """Suite name to its run."""
    score: Interval | None
    """On the task."""
    to_bar: ComparisonRecord | None
    """Its paired comparison with the best prompt on the task."""
    training: SeedTraining | None
    gates: tuple[GateRecord, ...] = ()
    """Gates that judged this very candidate."""


@dataclass(frozen=True)
class Joined:
    """One item with the answers of several candidates side by side."""

    task: str
    id: str
    question: str
    target: str
    metric: str
    answers: dict[str, SampleRecord] = field(default_factory=dict)

    def score(self, name: str) -> float | None:
        """The primary score of one candidate; None when unscored."""
        sample = self.answers.get(name)
        return sample.scores.get(self.metric) if sample else None

    def flip(self, candidate: str, reference: str) -> Flip:
        """What the candidate did to this item, seen from the reference."""
        ours, theirs = self.score(candidate), self.score(reference)
        if ours is None or theirs is None:
            return "unscored"
        return "tied" if ours == theirs else "won" if ours > theirs else "lost"


def gather(experiment: ExperimentStore) -> Evidence:
    """Read every record of an experiment but its samples; StoreError when one is damaged."""
    return Evidence(
        id=experiment.id,
        name=experiment.name,
        spec=experiment.spec(),
        provenance=experiment.read(Provenance),
        data=experiment.read(DataRecord),
        prompt=experiment.read(PromptRecord),
        training=experiment.read(TrainingRecord),
        verdict=experiment.read(VerdictRecord),
        runs=tuple(experiment.runs()),
        comparisons=tuple(experiment.comparisons()),
    )


def who(run_ids: str) -> tuple[str, ...]:
    """Candidate names in a comparison's side: run ids `<candidate>--<suite>--<split>`, joined by `+`."""
    return tuple(run_id.split("--")[0] for run_id in run_ids.split("+"))


def comparison(evidence: Evidence, candidate: str, reference: str, suite: str = "task") -> ComparisonRecord | None:
    """The comparison of two candidates on a suite, the gated one first, the whole suite before a single task."""
    gated = [gate.comparison for gate in evidence.gates if gate.comparison]
    fits = [
        c
        for c in (*gated, *evidence.comparisons)
        if c.suite == suite and who(c.reference) == (reference,) and candidate in who(c.candidate)
    ]
    own = [c for c in fits if who(c.candidate) == (candidate,)]
    return next(iter(own or fits), None)


def suite_score(run: RunRecord | None) -> Interval | None:
    """The score of a run on its whole suite."""
    if run is None:
        return None
    whole = run.metric("*", "primary")
    return whole.estimate if whole else run.metrics[0].estimate if run.metrics else None


def contestants(evidence: Evidence) -> list[Contestant]:
    """Everyone who was evaluated: the raw base first, then the best prompt, other prompts, the tuned ones."""
    named: dict[str, dict[str, RunRecord]] = {}
    for run in evidence.runs:
        if run.split == "test":
            named.setdefault(run.candidate.name, {})[run.suite] = run
    found = [_contestant(evidence, name, runs) for name, runs in named.items()]
    rank = {RAW: 0, BAR: 1}
    ranked = sorted(found, key=lambda c: (rank.get(c.name, 2 if c.seed is None else 3), c.seed or 0, c.name))
    return [replace(c, order=order) for order, c in enumerate(ranked)]


def _contestant(evidence: Evidence, name: str, runs: Mapping[str, RunRecord]) -> Contestant:
    someone = next(iter(runs.values())).candidate
    adapter = someone.adapter
    trained = evidence.training.seeds if evidence.training else ()
    return Contestant(
        name=name,
        order=0,
        method=f"{adapter.method}, seed {adapter.seed}" if adapter else f"prompt {someone.prompt.name}",
        seed=adapter.seed if adapter else None,
        runs=runs,
        score=suite_score(runs.get("task")),
        to_bar=comparison(evidence, name, BAR),
        training=next((s for s in trained if adapter and s.adapter.digest == adapter.digest), None),
        gates=tuple(g for g in evidence.gates if g.comparison and name in who(g.comparison.candidate)),
    )


def judged(evidence: Evidence) -> str:
    """The candidate that the verdict speaks of, as a contestant's name; a mean over seeds shows its first."""
    names = [c.name for c in contestants(evidence)]
    wanted = evidence.verdict.candidate if evidence.verdict else ""
    tuned = [name for name in names if name not in (RAW, BAR)]
    return wanted if wanted in names else next(iter(tuned or names[::-1]), RAW)


def join(experiment: ExperimentStore, runs: Sequence[RunRecord]) -> list[Joined]:
    """The samples of several runs of one suite side by side, in the order of the first run."""
    rows: dict[tuple[str, str, int], Joined] = {}
    for run in runs:
        for sample in experiment.samples(run.id):
            metric = run.primary.get(sample.task, next(iter(sample.scores), ""))
            blank = Joined(sample.task, sample.id, sample.question, sample.target, metric)
            row = rows.setdefault((sample.task, sample.id, sample.repeat), blank)
            row.answers[run.candidate.name] = sample
    return list(rows.values())
