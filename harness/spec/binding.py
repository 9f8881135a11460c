"""The metrics that a spec names: files beside it read and pinned, and what they need allowed or named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import metrics
from harness.errors import HarnessError, Problem, SpecError
from harness.gates import GateSpec
from harness.metrics import CORPUS_METRICS, METRICS
from harness.spec.model import ExperimentSpec
from harness.suites import Suite

Bind = Callable[[str, str], str]


def bind_metrics(spec: ExperimentSpec, folder: Path, file: str) -> ExperimentSpec:
    """The spec with every metric in its one spelling; those of files hold the content's digest (`metrics.bind`).

    Raises SpecError with every metric that cannot be had.
    """
    problems: list[Problem] = []

    def bind(name: str, where: str) -> str:
        try:
            return metrics.bind(name, folder)
        except HarnessError as fault:
            problems.extend(
                Problem(": ".join(filter(None, (f"{file}: {where}", p.where))), p.what, p.allowed, p.next)
                for p in fault.problems
            )
            return name

    further = tuple(
        name if name in CORPUS_METRICS else bind(name, f"task.metrics[{i}]") for i, name in enumerate(spec.task.metrics)
    )
    task = spec.task.model_copy(update={"metric": bind(spec.task.metric, "task.metric"), "metrics": further})
    found = spec.model_copy(update={
        "task": task,
        "gates": _gates(spec.gates, "gates", bind),
        "enough": _gates(spec.enough, "enough", bind),
        "policy": spec.policy.model_copy(update={"gates": _gates(spec.policy.gates, "policy.gates", bind)}),
    })  # fmt: skip
    if problems:
        raise SpecError(problems)
    return found


def _gates(gates: Sequence[GateSpec], where: str, bind: Bind) -> tuple[GateSpec, ...]:
    """Gates that name a score with arguments or a file; all other names are checked against what is measured."""

    def bound(at: int, gate: GateSpec) -> GateSpec:
        name = gate.metric
        if name is None or name in METRICS or not ("(" in name or metrics.names_a_file(name)):
            return gate
        return gate.model_copy(update={"metric": bind(name, f"{where}[{at}].metric")})

    return tuple(bound(at, gate) for at, gate in enumerate(gates))


def files(spec: ExperimentSpec) -> dict[str, str]:
    """Path from the spec's folder to text of every file that its metrics stand for."""
    named = (spec.task.metric, *spec.task.metrics)
    return {path: text for name in named for path, text in metrics.files_of(name).items()}


def need_problems(spec: ExperimentSpec, found: Sequence[Suite], file: str) -> Iterator[Problem]:
    """Metrics of the task or a suite that need what the spec does not allow or name."""
    named = [("task", name) for name in (spec.task.metric, *spec.task.metrics)]
    named += [(f"suite {suite.name}", name) for suite in found for task in suite.tasks for name in task.metrics]
    for where, name in dict.fromkeys(named):
        need = None if name in CORPUS_METRICS else metrics.get(name).needs
        if need == "code" and not spec.allow_code_execution:
            hint = "Read about the sandbox in docs/metrics.md, then set allow_code_execution: true"
            yield Problem(f"{file}: {where}", f"{name!r} runs what the model writes", next=hint)
        if need == "judge" and spec.judge is None:
            hint = "Add judge: {url: ..., model: ...}; the model under test is never its own judge by default"
            yield Problem(f"{file}: {where}", f"{name!r} asks a judge, and none is named", next=hint)
