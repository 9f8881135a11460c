"""Which suites a deploy gate asks, by which rules, and what their metrics may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import metrics, suites
from harness.deploying.naming import Named
from harness.deploying.spec import DEFAULT_MARGIN, REFERENCE, stored_part
from harness.errors import HarnessError, Problem, SpecError, UsageError
from harness.evaluate import TASK_SUITE
from harness.gates import GateSpec, PolicySpec
from harness.metrics import CORPUS_METRICS, JudgeSpec
from harness.spec import BudgetSpec
from harness.store import ExperimentStore
from harness.suites import Suite, SuiteUse


def uses(named_here: Sequence[str], policy: PolicySpec, reference: Named) -> tuple[SuiteUse, ...]:
    """The suites that are named; else those of the policy's gates; else those of the reference's experiment.

    Raises UsageError for none: nothing passes where nothing is shown.
    """
    named = tuple(named_here) or tuple(dict.fromkeys(gate.suite for gate in policy.gates))
    if named:
        return tuple(SuiteUse(suite=name) for name in named)
    told = reference.folder.spec() if reference.folder is not None else {}
    found = list[SuiteUse]()
    if reference.folder is not None:
        given = told.get("suites") or []
        found = [
            stored_part(reference.folder, "suites", SuiteUse, use)
            for use in (given if isinstance(given, list) else [given])
        ]
        home = reference.folder.path
        places = ("suite", "data")
        found = [
            use.model_copy(update={key: _found(value, home) for key in places if (value := getattr(use, key))})
            for use in found
        ]
    if "data" in told or told.get("task_of"):
        found.insert(0, SuiteUse(suite=TASK_SUITE))
    if not found:
        hint = "Name suites (--suites regression-core), or a policy with gates on them"
        raise UsageError(Problem("harness gate", "no suite is named, so nothing would be shown", next=hint))
    return tuple(found)


def _found(name: str, home: Path) -> str:
    """A path that a stored spec gives relative to its folder; a plain name stays."""
    return str(home / name) if (home / name).exists() else name


def load_suites(uses: Sequence[SuiteUse], near: Path) -> tuple[Suite, ...]:
    """The suites with their items, the task's own left out. Raises SpecError with every fault."""
    problems, found = list[Problem](), list[Suite]()
    for use in uses:
        name = use.suite
        if name == TASK_SUITE:
            continue
        try:
            found.append(suites.load_suite(use, near=near))
        except HarnessError as fault:
            problems += [
                Problem(": ".join(filter(None, (f"--suites {name}", p.where))), p.what, p.allowed, p.next)
                for p in fault.problems
            ]
    names = [suite.name for suite in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem("--suites", f"{name!r} is named twice", next="Name each once"))
    if problems:
        raise SpecError(problems)
    return tuple(found)


def rules(policy: PolicySpec, asked: Sequence[str]) -> tuple[tuple[GateSpec, ...], tuple[str, ...]]:
    """The policy's gates against the reference, and the default rule where a suite that is asked has none."""
    gates = tuple(
        gate.model_copy(update={"against": REFERENCE}) if "against" not in gate.model_fields_set else gate
        for gate in policy.gates
    )
    bare = tuple(name for name in asked if not any(gate.suite == name and gate.blocking for gate in gates))
    return gates + tuple(GateSpec(suite=name, against=REFERENCE, min_delta=DEFAULT_MARGIN) for name in bare), bare


@dataclass(frozen=True, slots=True)
class Terms:
    """What gates are judged under."""

    policy: PolicySpec
    budget: BudgetSpec
    repeats: int


@dataclass(frozen=True, slots=True)
class Further:
    """What metrics may use, and prices."""

    budget: BudgetSpec = field(default_factory=BudgetSpec)
    allow_code_execution: bool = False
    judge: JudgeSpec | None = None


def further(of: ExperimentStore | None, reference: Named, candidate: Named) -> Further:
    """As the experiment says whose task is judged, else the reference's, else the candidate's."""
    for folder in (of, reference.folder, candidate.folder):
        if folder is not None:
            told = folder.spec()
            judge = told.get("judge")
            return Further(
                stored_part(folder, "budget", BudgetSpec, told.get("budget") or {}),
                bool(told.get("allow_code_execution")),
                None if judge is None else stored_part(folder, "judge", JudgeSpec, judge),
            )
    return Further()


def needs(loaded: Sequence[Suite], further: Further) -> list[Problem]:
    """Suites whose metrics need what no experiment here allows or names."""
    found = []
    for suite, name in dict.fromkeys((s.name, name) for s in loaded for task in s.tasks for name in task.metrics):
        need = None if name in CORPUS_METRICS else metrics.get(name).needs
        if (need == "code" and not further.allow_code_execution) or (need == "judge" and further.judge is None):
            what = f"{name!r} {'runs what the model writes' if need == 'code' else 'asks a judge'}"
            hint = "Gate it with an experiment whose spec allows or names that (allow_code_execution, judge)"
            found.append(Problem(f"--suites {suite}", what, next=hint))
    return found
