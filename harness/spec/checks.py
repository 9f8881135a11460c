"""What one part of a spec says against what another knows: metrics and slices that gates name, answers that fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness import metrics
from harness.compare import MEASURES
from harness.data import Data
from harness.errors import Problem, did_you_mean
from harness.evaluate import TASK_SUITE, TaskSpec
from harness.gates import GateSpec
from harness.metrics import CORPUS_METRICS, METRICS
from harness.records import Item
from harness.spec.model import REFERENCES, BudgetSpec, ExperimentSpec
from harness.suites import Suite

NONSENSE = "\u2043\u2043"
"""An answer that is right for no question: a metric that gives it full marks cannot fail."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a gate can name in one suite."""

    metrics: dict[str, tuple[str, ...]]
    """Task to its metrics."""
    texts: bool
    """Whether all answers are texts, over which a corpus metric can be computed."""
    slices: dict[str, set[str]]
    """Property to its values."""


def gate_problems(spec: ExperimentSpec, rows: Data | None, found: Sequence[Suite], file: str) -> list[Problem]:
    """Every gate that names what is not there. Gates of a policy file are told as `policy.gates[i]`."""
    known = {suite.name: _of_suite(suite) for suite in found}
    slices = _slices(rows.test.slices) if rows is not None else None
    known[TASK_SUITE] = _Known({TASK_SUITE: (spec.task.metric, *spec.task.metrics)}, True, slices or {})
    problems: list[Problem] = []
    named = [(f"policy.gates[{i}]", gate) for i, gate in enumerate(spec.policy.gates)]
    for at, gate in [*named, *((f"gates[{i}]", gate) for i, gate in enumerate(spec.gates))]:
        if gate.must_not_break is not None:
            continue
        where = f"{file}: {at}"
        problems += _reference_problems(gate, where)
        if gate.suite not in known:
            if len(found) == len(spec.suites):
                hint = did_you_mean(gate.suite, list(known))
                problems.append(Problem(f"{where}.suite", f"unknown suite {gate.suite!r}", hint))
            continue
        problems += _metric_problems(gate, known[gate.suite], spec.budget, where)
        if gate.suite != TASK_SUITE or slices is not None:
            problems += _slice_problems(gate, known[gate.suite], where)
    return problems


def _of_suite(suite: Suite) -> _Known:
    items = [item for task in suite.tasks for item in task.items]
    texts = all(task.output_type == "generate" for task in suite.tasks)
    return _Known({t.name: t.metrics for t in suite.tasks}, texts, _slices([item.slices for item in items]))


def _slices(of_items: Sequence[dict[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for slices in of_items:
        for name, value in slices.items():
            found.setdefault(name, set()).add(value)
    return found


def _reference_problems(gate: GateSpec, where: str) -> Iterator[Problem]:
    if gate.against not in REFERENCES:
        yield Problem(f"{where}.against", f"unknown {gate.against!r}", did_you_mean(gate.against, REFERENCES))
    elif gate.suite != TASK_SUITE and gate.against == "best_prompt":
        hint = "Suites other than `task` are asked as they stand, so their reference is base"
        yield Problem(f"{where}.against", "best_prompt is a prompt for the task only", hint)


def _metric_problems(gate: GateSpec, known: _Known, budget: BudgetSpec, where: str) -> Iterator[Problem]:
    if gate.task not in ("*", *known.metrics):
        hint = did_you_mean(gate.task, ["*", *known.metrics])
        yield Problem(f"{where}.task", f"unknown task {gate.task!r}", hint)
        return
    if gate.metric in MEASURES:
        if MEASURES[gate.metric].priced and None in (budget.input_price, budget.output_price):
            hint = "Give budget.input_price and budget.output_price, per million tokens"
            yield Problem(f"{where}.metric", f"{gate.metric} needs the prices of tokens", next=hint)
        return
    if gate.metric in CORPUS_METRICS:
        if not known.texts:
            yield Problem(f"{where}.metric", f"{gate.metric!r} is computed over texts, and {gate.suite} has choices")
        return
    gated = {task: names for task, names in known.metrics.items() if gate.task in ("*", task)}
    lacking = sorted(task for task, names in gated.items() if gate.metric not in (None, "primary", *names))
    if lacking:
        scored = sorted(set.intersection(*(set(names) for names in gated.values())))
        hint = did_you_mean(str(gate.metric), [*scored, *MEASURES, *(CORPUS_METRICS if known.texts else ())])
        what = f"{gate.metric!r} is not measured on {', '.join(lacking)}"
        yield Problem(f"{where}.metric", what, hint, "Name one task, or add it to task.metrics")
        return
    for name in ("min_delta", "at_least", "at_most"):
        value = getattr(gate, name)
        if value is not None and not gate.relative and not -1 <= value <= 1:
            what = f"{value:g} is no share: this metric's scores lie in [0, 1]"
            yield Problem(f"{where}.{name}", what, "0.05 is five points")
    if gate.at_least is not None and gate.at_least <= 0:
        yield Problem(f"{where}.at_least", f"{gate.at_least:g} is reached by every score", next="Ask for more than 0")


def _slice_problems(gate: GateSpec, known: _Known, where: str) -> Iterator[Problem]:
    name, _, value = (gate.slice or gate.worst_slice or "").partition("=")
    if not name:
        return
    at = f"{where}.{'slice' if gate.slice else 'worst_slice'}"
    if name not in known.slices:
        hint = did_you_mean(name, list(known.slices)) if known.slices else "Its items have no slices"
        yield Problem(at, f"no item of {gate.suite} has the property {name!r}", hint)
    elif value and value not in known.slices[name]:
        yield Problem(at, f"no item of {gate.suite} has {gate.slice}", did_you_mean(value, list(known.slices[name])))


def task_problems(spec: TaskSpec, items: Sequence[Item], file: str) -> list[Problem]:
    """Gold answers that cannot be given or get no full marks, and metrics that any answer satisfies.

    A gold answer must fit in max_tokens: a token holds at most some 16 characters.
    """
    longest = max(items, key=lambda item: len(item.target))
    problems = []
    if len(longest.target) > 16 * spec.max_tokens:
        what = f"{spec.max_tokens} cannot hold the gold answer of {longest.id} ({len(longest.target)} characters)"
        problems.append(Problem(f"{file}: task.max_tokens", what, next="Raise it"))
    for metric in (spec.metric, *spec.metrics):
        if metric not in METRICS:
            continue
        lost = [item for item in items if metrics.score_text(metric, item.target, item.target) < 1]
        if lost:
            what = f"{metric!r} does not give the gold answer of {lost[0].id} full marks ({len(lost)} rows in all)"
            hint = "Take another metric, or correct the answers"
            problems.append(Problem(f"{file}: task", what, "A right answer must be able to score 1", hint))
        elif all(metrics.score_text(metric, NONSENSE, item.target) >= 1 for item in items):
            what = f"{metric!r} gives any answer full marks on every row: it is constant by construction"
            problems.append(Problem(f"{file}: task", what, "A wrong answer must be able to score 0", "Take another"))
    return problems
