"""One experiment's records, read once, and its contestants in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.records import (
    ComparisonRecord,
    DataRecord,
    Finalist,
    GateRecord,
    Interval,
    LookRecord,
    PromptRecord,
    Provenance,
    RunRecord,
    SeedTraining,
    TrainingRecord,
    VerdictRecord,
)
from harness.store import ExperimentStore
from harness.suites import MUST_NOT_BREAK

RAW, BAR = "base", "best_prompt"
"""Names of the two contestants that every experiment has: the raw base, and the bar to beat."""


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
    def finalist(self) -> Finalist | None:
        """The finalist that the verdict speaks of; None in records of version 1."""
        judged = self.verdict.finalists if self.verdict else ()
        return next((one for one in judged if self.verdict and one.name == self.verdict.candidate), None)

    @property
    def deciding_gates(self) -> tuple[GateRecord, ...]:
        """The gates of the candidate that the verdict speaks of."""
        name = self.verdict.candidate if self.verdict else ""
        return tuple(gate for gate in self.gates if gate.candidate in ("", name))

    def members(self, finalist: str) -> set[str]:
        """The contestants behind a finalist: itself, or one per seed where several were judged as one."""
        compared = [gate.comparison for gate in self.gates if gate.comparison and gate.candidate == finalist]
        return {name for found in compared for name in who(found.candidate)} or {finalist}

    def runs_of(self, finalist: str) -> list[RunRecord]:
        """The test runs of a finalist, on every suite."""
        names = self.members(finalist)
        return [run for run in self.runs if run.split == "test" and run.candidate.name in names]

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

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites beside the task that have a score; items that must not break have none, only their gate."""
        return tuple(
            sorted({r.suite for r in self.runs if r.suite != "task" and not r.suite.startswith(MUST_NOT_BREAK)})
        )


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
    """Gates that judged this very candidate, alone or as one seed of several."""
    look: LookRecord | None = None
    """Which look at the task's test split it was, for one that was judged."""


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


def is_plain(evidence: Evidence, found: ComparisonRecord, suite: str) -> bool:
    """Whether it is of the suite's own score, over all its slices, against the reference as it stands.

    Neither a slice nor a measure like latency nor a relative margin says how much better a candidate is.
    """
    scores = {"primary", *(name for run in evidence.runs if run.suite == suite for name in run.primary.values())}
    return (found.suite, found.slice, found.factor) == (suite, None, 1.0) and found.metric in scores


def comparison(evidence: Evidence, candidate: str, reference: str, suite: str = "task") -> ComparisonRecord | None:
    """The plain comparison of two candidates on a suite, the gated one first, the whole suite before a single task."""
    gated = [gate.comparison for gate in evidence.gates if gate.comparison]
    fits = [
        c
        for c in (*gated, *evidence.comparisons)
        if is_plain(evidence, c, suite) and who(c.reference) == (reference,) and candidate in who(c.candidate)
    ]
    return min(fits, key=lambda c: (who(c.candidate) != (candidate,), c.task != "*"), default=None)


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
        gates=tuple(gate for gate in evidence.gates if name in _judges(evidence, gate)),
        look=next((f.look for f in _finalists(evidence) if name in evidence.members(f.name)), None),
    )


def _finalists(evidence: Evidence) -> tuple[Finalist, ...]:
    return evidence.verdict.finalists if evidence.verdict else ()


def _judges(evidence: Evidence, gate: GateRecord) -> set[str]:
    """Whom a gate judged; records of version 1 say it in the comparison alone."""
    if gate.candidate:
        return evidence.members(gate.candidate)
    return set(who(gate.comparison.candidate)) if gate.comparison else set()


def judged(evidence: Evidence) -> str:
    """The candidate that the verdict speaks of, as a contestant's name; a mean over seeds shows its first."""
    names = [c.name for c in contestants(evidence)]
    wanted = evidence.verdict.candidate if evidence.verdict else ""
    behind = evidence.members(wanted)
    tuned = [name for name in names if name not in (RAW, BAR)]
    return next((name for name in names if name in behind), next(iter(tuned or names[::-1]), RAW))
