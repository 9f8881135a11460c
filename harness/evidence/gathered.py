"""One experiment's records, read once, and its contestants in order."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.evidence.prompting import prompt_words
from harness.records import (
    Candidate,
    ComparisonRecord,
    DataRecord,
    Finalist,
    ForgettingRecord,
    Forgotten,
    GatedRecord,
    GateRecord,
    Interval,
    LookRecord,
    PromptRecord,
    Provenance,
    RunRecord,
    SeedTraining,
    SpendingRecord,
    SweepRecord,
    TrainingRecord,
    VerdictRecord,
)
from harness.store import ExperimentStore
from harness.suites import MUST_NOT_BREAK

RAW, BAR = "base", "best_prompt"
"""Names of the two contestants that every experiment has: the raw base, and the bar to beat."""
REFERENCE = "reference"
"""Name of whom a deploy gate holds its candidate against."""
_BETWEEN = re.compile(r"(?<=--dev)\+|(?<=--test)\+|(?<=--train)\+")
PROMPTS = (RAW, "few_shot", "cot", "rag", "majority")
"""The order of those before the bar."""


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
    forgetting: ForgettingRecord | None = None
    sweep: SweepRecord | None = None
    gated: GatedRecord | None = None
    """The two sides, where this is a deploy gate that has its verdict."""
    spent: tuple[SpendingRecord, ...] = ()

    @property
    def decision(self) -> str:
        """The verdict's decision, or `unfinished`."""
        return self.verdict.decision if self.verdict else "unfinished"

    @property
    def is_gate(self) -> bool:
        """Whether it is a deploy gate: a candidate held against a reference, with no prompt search and no training."""
        return "reference" in self.spec and "candidate" in self.spec

    @property
    def bar(self) -> str:
        """Name of the contestant whom a candidate is held against: the best prompt; in a deploy gate, the reference."""
        return REFERENCE if self.is_gate else BAR

    @property
    def bar_words(self) -> str:
        """The bar as people read it."""
        return "the reference" if self.is_gate else "the best prompt"

    @property
    def sides(self) -> tuple[str, str]:
        """Candidate and reference of a deploy gate, as they were named."""
        parts = (self.spec.get(name) for name in ("candidate", "reference"))
        ours, theirs = (str(part.get("given", "")) if isinstance(part, Mapping) else "" for part in parts)
        return ours, theirs

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

    @functools.cached_property
    def ranked(self) -> tuple[Contestant, ...]:
        """Its contestants, as `contestants` tells them; every view asks for them many times."""
        return tuple(_ranked(self))

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
        apart = {"data", "prompt search", "training"} if self.is_gate else set[str]()
        return tuple(name for name, record in stages.items() if record is None and name not in apart)

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
    candidate: Candidate
    """Who answered: weights, prompt, decoding."""
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
    forgotten: Forgotten | None = None
    """What its adapter changed of general text and general answers, where that was measured."""

    @property
    def tokens_in(self) -> float | None:
        """Prompt tokens per request on the task; None where they were not counted."""
        task = self.runs.get("task")
        return None if task is None or task.tokens_in is None or not task.n else task.tokens_in / task.n

    @property
    def tokens_out(self) -> float | None:
        """Answer tokens per request on the task, likewise."""
        task = self.runs.get("task")
        return None if task is None or task.tokens_out is None or not task.n else task.tokens_out / task.n

    @property
    def latency_p50_s(self) -> float | None:
        """Median seconds for an answer on the task; None where no model answered."""
        task = self.runs.get("task")
        return task.latency_p50_s if task else None

    @property
    def asked(self) -> str:
        """Its prompt in a few words."""
        return prompt_words(self.candidate.prompt, self.candidate.decoding)


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
        forgetting=experiment.read(ForgettingRecord),
        sweep=experiment.read(SweepRecord),
        gated=experiment.read(GatedRecord),
        spent=tuple(experiment.spent()),
    )


@functools.lru_cache(maxsize=4096)
def who(run_ids: str) -> tuple[str, ...]:
    """Candidate names in a comparison's side: run ids `<candidate>--<suite>--<split>`, joined by `+`.

    A name may hold a `+` itself (`tuned-seed0+best_prompt`), while a run id ends in its split.
    """
    return tuple(run_id.split("--")[0] for run_id in re.split(_BETWEEN, run_ids))


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
    """Everyone who was evaluated: the raw base first, then other prompts, the best one, the tuned ones.

    A tuned candidate comes under its own prompt first, then under the best one.
    """
    return list(evidence.ranked)


def _ranked(evidence: Evidence) -> list[Contestant]:
    named: dict[str, dict[str, RunRecord]] = {}
    for run in evidence.runs:
        if run.split == "test":
            named.setdefault(run.candidate.name, {})[run.suite] = run
    found = [_contestant(evidence, name, runs) for name, runs in named.items()]

    def place(c: Contestant) -> tuple[int, int, int, str]:
        known = PROMPTS.index(c.name) if c.name in PROMPTS else len(PROMPTS)
        kind = 1 if c.name in (BAR, REFERENCE) else 2 if c.seed is not None or evidence.is_gate else 0
        return kind, 0 if kind else known, c.seed or 0, c.name

    ranked = sorted(found, key=place)
    return [replace(c, order=order) for order, c in enumerate(ranked)]


def _contestant(evidence: Evidence, name: str, runs: Mapping[str, RunRecord]) -> Contestant:
    someone = next(iter(runs.values())).candidate
    adapter = someone.adapter
    trained = evidence.training.seeds if evidence.training else ()
    return Contestant(
        name=name,
        candidate=someone,
        order=0,
        method=_method(evidence, someone),
        seed=adapter.seed if adapter else None,
        runs=runs,
        score=suite_score(runs.get("task")),
        to_bar=comparison(evidence, name, evidence.bar),
        training=next((s for s in trained if adapter and s.adapter.digest == adapter.digest), None),
        gates=tuple(gate for gate in evidence.gates if name in _judges(evidence, gate)),
        forgotten=next((f for f in _forgotten(evidence) if adapter and f.adapter == adapter.digest), None),
        look=next((f.look for f in _finalists(evidence) if name in evidence.members(f.name)), None),
    )


def _method(evidence: Evidence, someone: Candidate) -> str:
    """How it was made; a tuned candidate's prompt is told where it is another than it was trained under."""
    if someone.adapter is None:
        return f"prompt {someone.prompt.name}"
    made = f"{someone.adapter.method}, seed {someone.adapter.seed}"
    return f"{made}, prompt {someone.prompt.name}" if asked_otherwise(evidence, someone) else made


def asked_otherwise(evidence: Evidence, someone: Candidate) -> bool:
    """Whether a tuned candidate was asked under another prompt than it was trained under, whatever that is called."""
    if someone.adapter is None or evidence.training is None:
        return False
    sides = [p.model_dump(exclude={"name", "demonstration_ids"}) for p in (someone.prompt, evidence.training.prompt)]
    return sides[0] != sides[1]


def _forgotten(evidence: Evidence) -> tuple[Forgotten, ...]:
    return evidence.forgetting.adapters if evidence.forgetting else ()


def _finalists(evidence: Evidence) -> tuple[Finalist, ...]:
    return evidence.verdict.finalists if evidence.verdict else ()


def _judges(evidence: Evidence, gate: GateRecord) -> set[str]:
    """Whom a gate judged; records of version 1 say it in the comparison alone."""
    if gate.candidate:
        return evidence.members(gate.candidate)
    return set(who(gate.comparison.candidate)) if gate.comparison else set()


def judged(evidence: Evidence) -> str:
    """The candidate that the verdict speaks of, as a contestant's name; a mean over seeds shows its first."""
    everyone = contestants(evidence)
    names = [c.name for c in everyone]
    wanted = evidence.verdict.candidate if evidence.verdict else ""
    behind = evidence.members(wanted)
    tuned = [c.name for c in everyone if c.seed is not None and c.name != evidence.bar]
    prompts = [name for name in (BAR, RAW) if name in names]
    return next((name for name in names if name in behind), next(iter(tuned or prompts or names[::-1]), RAW))
