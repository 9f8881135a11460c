"""What one part of a spec says against what another knows: metrics and slices that gates name, answers that fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from harness import metrics
from harness.compare import HUMAN, MEASURES
from harness.data import Data, question
from harness.errors import Problem, did_you_mean
from harness.evaluate import TASK_SUITE, TaskSpec, compares_choices
from harness.gates import GateSpec
from harness.metrics import CORPUS_METRICS
from harness.prompts import closed_set
from harness.prompts.spec import Contestant
from harness.records import Item
from harness.spec.model import ExperimentSpec
from harness.suites import Suite

NO_MEAN = "{!r} is no mean, and a recipe is judged on means"
ARTIFACT = "Use a metric that is a mean over items, or claim artifact"
NONSENSE = "\u2043\u2043"
"""An answer that is right for no question: a metric that gives it full marks cannot fail."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a gate can name in one suite."""

    metrics: dict[str, tuple[str, ...]]
    """Task to its metrics."""
    texts: bool
    """Whether all answers are texts, over which a corpus metric can be computed."""
    slices: dict[str, dict[str, set[str]]]
    """Task to property to its values."""


def gate_problems(spec: ExperimentSpec, rows: Data | None, found: Sequence[Suite], file: str) -> list[Problem]:
    """Every gate that names what is not there, cannot fail or cannot be judged; and gates that decide nothing together.

    Gates of a policy are told as `policy.gates[i]`, those that stop before training as `enough[i]`.
    """
    known = {suite.name: _of_suite(suite) for suite in found}
    own = _slices(rows.test.slices if rows is not None else ())
    texts = not compares_choices(spec.task.metric)
    known[TASK_SUITE] = _Known({TASK_SUITE: (spec.task.metric, *spec.task.metrics)}, texts, {TASK_SUITE: own})
    problems = list(_together(spec, file))
    named = [(f"policy.gates[{i}]", gate) for i, gate in enumerate(spec.policy.gates)]
    for at, gate in [*named, *((f"gates[{i}]", gate) for i, gate in enumerate(spec.gates))]:
        if gate.must_not_break is not None:
            continue
        where = f"{file}: {at}"
        problems += _reference_problems(gate, spec, rows, where)
        if gate.suite not in known:
            if len(found) == len(spec.suites):
                hint = did_you_mean(gate.suite, list(known))
                problems.append(Problem(f"{where}.suite", f"unknown suite {gate.suite!r}", hint))
            continue
        if gate.task not in ("*", *known[gate.suite].metrics):
            hint = did_you_mean(gate.task, ["*", *known[gate.suite].metrics])
            problems.append(Problem(f"{where}.task", f"unknown task {gate.task!r}", hint))
            continue
        problems += _metric_problems(gate, known[gate.suite], spec, where)
        if gate.suite != TASK_SUITE or rows is not None:
            problems += _slice_problems(gate, known[gate.suite], where)
    for i, gate in enumerate(spec.enough):
        problems += _enough_problems(gate, known[TASK_SUITE], spec, f"{file}: enough[{i}]", rows is not None)
    return problems


def _enough_problems(gate: GateSpec, known: _Known, spec: ExperimentSpec, where: str, read: bool) -> Iterator[Problem]:
    """Gates before training judge the best prompt alone, on the task; there is nothing to compare it with."""
    allowed = "at_least or at_most on the task, blocking, e.g. {metric: latency_p95_s, at_most: 2}"
    if gate.rule not in ("at_least", "at_most"):
        yield Problem(where, f"{gate.rule} is no gate for a prompt before training", allowed)
    elif gate.suite != TASK_SUITE or gate.task not in ("*", TASK_SUITE):
        yield Problem(f"{where}.suite", f"{gate.suite!r} is not asked before training", allowed)
    elif not gate.blocking:
        yield Problem(f"{where}.tier", "an advisory gate decides nothing here", allowed)
    else:
        yield from _metric_problems(gate, known, spec, where)
        if read:
            yield from _slice_problems(gate, known, where)


def _together(spec: ExperimentSpec, file: str) -> Iterator[Problem]:
    """What all gates together must hold: looks at the task's test split spend alpha, so one of them looks there."""
    blocking = [gate for gate in spec.rules if gate.blocking and gate.suite == TASK_SUITE]
    wanted = ("min_delta",) if spec.policy.claim == "recipe" else ("min_delta", "at_least")
    if not any(gate.rule in wanted for gate in blocking):
        what = f"no blocking gate on the task with {' or '.join(wanted)}"
        why = (
            "A claim about the recipe needs a difference over seeds" if len(wanted) == 1 else "Looks are counted there"
        )
        hint = "Add one, e.g. {suite: task, against: best_prompt, min_delta: 0.0}"
        yield Problem(f"{file}: gates", what, why, hint)


def _of_suite(suite: Suite) -> _Known:
    texts = all(task.output_type == "generate" for task in suite.tasks)
    slices = {task.name: _slices([item.slices for item in task.items]) for task in suite.tasks}
    return _Known({t.name: t.metrics for t in suite.tasks}, texts, slices)


def _slices(of_items: Sequence[Mapping[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for slices in of_items:
        for name, value in slices.items():
            found.setdefault(name, set()).add(value)
    return found


def _reference_problems(gate: GateSpec, spec: ExperimentSpec, rows: Data | None, where: str) -> Iterator[Problem]:
    at = f"{where}.against"
    if gate.against not in spec.references:
        absent = gate.against in get_args(Contestant)
        hint = "Add it to prompt.contestants" if absent else ""
        what = f"{gate.against!r} is no contestant of this experiment" if absent else f"unknown {gate.against!r}"
        yield Problem(at, what, did_you_mean(gate.against, spec.references), hint)
    elif gate.suite != TASK_SUITE and gate.against != "base":
        hint = "Suites other than `task` are asked as they stand, so their reference is base"
        yield Problem(at, f"{gate.against} is a prompt for the task only", hint)
    elif gate.against == "majority" and rows is not None and closed_set(rows.train) is None:
        hint = "Compare with base, or with another contestant"
        yield Problem(at, "the answers are no closed set, so there is no majority answer", next=hint)


def _metric_problems(gate: GateSpec, known: _Known, spec: ExperimentSpec, where: str) -> Iterator[Problem]:
    if gate.metric == HUMAN:
        yield from _human_problems(gate, known, spec, where)
        return
    if gate.metric in MEASURES:
        yield from _measure_problems(gate, spec, where)
        return
    if gate.metric in CORPUS_METRICS:
        if not known.texts:
            yield Problem(f"{where}.metric", f"{gate.metric!r} is computed over texts, and {gate.suite} has choices")
        if spec.policy.claim == "recipe" and gate.rule == "min_delta":
            yield Problem(f"{where}.metric", NO_MEAN.format(gate.metric), next=ARTIFACT)
        yield from _limit_problems(gate, CORPUS_METRICS[gate.metric].limits, where)
        return
    gated = {task: names for task, names in known.metrics.items() if gate.task in ("*", task)}
    lacking = sorted(task for task, names in gated.items() if gate.metric not in (None, "primary", *names))
    if lacking:
        scored = sorted(set.intersection(*(set(names) for names in gated.values())))
        hint = did_you_mean(str(gate.metric), [*scored, *MEASURES, HUMAN, *(CORPUS_METRICS if known.texts else ())])
        what = f"{gate.metric!r} is not measured on {', '.join(lacking)}"
        yield Problem(f"{where}.metric", what, hint, "Name one task, or add it to task.metrics")
        return
    yield from _limit_problems(gate, (0.0, 1.0), where)


def _human_problems(gate: GateSpec, known: _Known, spec: ExperimentSpec, where: str) -> Iterator[Problem]:
    """Votes are on pairs of written answers to the task."""
    if gate.rule != "min_delta" or gate.relative:
        hint = "min_delta: 0 asks for more wins than losses, 0.1 for a win rate of 55 %"
        yield Problem(f"{where}.metric", f"{HUMAN} compares two candidates", next=hint)
    if gate.suite != TASK_SUITE or not known.texts:
        yield Problem(f"{where}.metric", f"{HUMAN} is for written answers to the experiment's own task")
    if gate.task != "*" or gate.slice is not None or gate.worst_slice is not None:
        yield Problem(f"{where}.metric", f"{HUMAN} is over all pairs", next="Leave task, slice and worst_slice out")
    if spec.policy.claim == "recipe":
        yield Problem(f"{where}.metric", f"{HUMAN} is about the answers of these weights", next=ARTIFACT)
    yield from _limit_problems(gate, (0.0, 1.0), where)


def _measure_problems(gate: GateSpec, spec: ExperimentSpec, where: str) -> Iterator[Problem]:
    measure, budget = MEASURES[str(gate.metric)], spec.budget
    if measure.priced and budget.token_prices is None:
        hint = "Give budget.input_price and budget.output_price, per million tokens, each a single number"
        yield Problem(f"{where}.metric", f"{gate.metric} needs the prices of tokens", next=hint)
    if measure.quantile is not None and spec.policy.claim == "recipe" and gate.rule == "min_delta":
        yield Problem(f"{where}.metric", NO_MEAN.format(gate.metric), next=ARTIFACT)
    if measure.quantile is not None and spec.task.repeats > 1 and gate.suite == TASK_SUITE:
        hint = "Take latency_mean_s, or leave task.repeats out"
        yield Problem(f"{where}.metric", "a percentile of averaged repeats is none of the answers", next=hint)
    if gate.relative and gate.min_delta is not None and gate.min_delta >= 1:
        yield Problem(f"{where}.min_delta", f"{gate.min_delta:g}: nothing falls by more than all of it", "Less than 1")
    if gate.at_most is not None and gate.at_most <= 0:
        yield Problem(f"{where}.at_most", f"{gate.at_most:g} cannot be reached", "Above 0")
    if gate.at_least is not None and gate.at_least <= 0:
        yield Problem(f"{where}.at_least", f"{gate.at_least:g} is always reached", "Above 0")


def _limit_problems(gate: GateSpec, limits: tuple[float, float], where: str) -> Iterator[Problem]:
    """Margins that any candidate keeps, or none can."""
    low, high = limits
    if gate.min_delta is not None and not gate.relative and not low - high < gate.min_delta < high - low:
        what = f"{gate.min_delta:g} is always or never reached: scores lie in [{low:g}, {high:g}]"
        yield Problem(f"{where}.min_delta", what, next="On scores from 0 to 1, 0.05 is five points")
    for name in ("at_least", "at_most"):
        value = getattr(gate, name)
        if value is not None and not low < value < high:
            what = f"{value:g} is always or never reached: scores lie in [{low:g}, {high:g}]"
            yield Problem(f"{where}.{name}", what, f"Between {low:g} and {high:g}")


def _slice_problems(gate: GateSpec, known: _Known, where: str) -> Iterator[Problem]:
    name, _, value = (gate.slice or gate.worst_slice or "").partition("=")
    if not name:
        return
    at = f"{where}.{'slice' if gate.slice else 'worst_slice'}"
    there = f"{gate.suite}" if gate.task == "*" else f"{gate.suite}/{gate.task}"
    slices: dict[str, set[str]] = {}
    for task, found in known.slices.items():
        if gate.task in ("*", task):
            for each, values in found.items():
                slices.setdefault(each, set()).update(values)
    if name not in slices:
        hint = did_you_mean(name, list(slices)) if slices else "Its items have no slices"
        yield Problem(at, f"no item of {there} has the property {name!r}", hint)
    elif value and value not in slices[name]:
        yield Problem(at, f"no item of {there} has {gate.slice}", did_you_mean(value, list(slices[name])))


def must_not_break_problems(kept: Mapping[str, Suite], rows: Data) -> list[Problem]:
    """Items that must not break and were learned from: they show memory."""
    problems = []
    for split in (rows.train, rows.dev):
        known = {question(row.item, system=False): row.line for row in split.rows}
        for file, suite in kept.items():
            items = [item for task in suite.tasks for item in task.items]
            found = [known[asked] for item in items if (asked := question(item, system=False)) in known]
            if found:
                what = f"{len(found)} of its {len(items)} questions stand in {split.name}, the first on line {found[0]}"
                problems.append(Problem(file, what, next=f"Remove them from {split.name}, or from this file"))
    return problems


def task_problems(spec: TaskSpec, items: Sequence[Item], file: str) -> list[Problem]:
    """Gold answers that cannot be given or get no full marks, and metrics that any answer satisfies.

    A gold answer must fit in max_tokens: a token holds at most some 16 characters.
    """
    if compares_choices(spec.metric):
        return _choice_problems(spec, items, file)
    longest = max(items, key=lambda item: len(item.target))
    problems = []
    if len(longest.target) > 16 * spec.max_tokens:
        what = f"{spec.max_tokens} cannot hold the gold answer of {longest.id} ({len(longest.target)} characters)"
        problems.append(Problem(f"{file}: task.max_tokens", what, next="Raise it"))
    for metric in (spec.metric, *spec.metrics):
        if metric not in CORPUS_METRICS and metrics.get(metric).needs is None:
            problems += _tried(metric, items, f"{file}: task")
    return problems


def _choice_problems(spec: TaskSpec, items: Sequence[Item], file: str) -> list[Problem]:
    """Rows that hold no pair of answers to compare."""
    bare = [item for item in items if item.choices is None]
    if not bare:
        return []
    what = f"{spec.metric!r} compares a chosen with a rejected answer, which {len(bare)} rows do not have"
    hint = "Take a metric of generated answers, or rows with prompt, chosen and rejected"
    return [Problem(f"{file}: task.metric", f"{what}, such as {bare[0].id}", next=hint)]


def _tried(metric: str, items: Sequence[Item], where: str) -> Iterator[Problem]:
    """What a metric makes of the gold answers, and of an answer that is right for no question."""
    unread = [(item, why) for item in items if (why := metrics.score(metric, NONSENSE, item.target).why)]
    if unread:
        item, why = unread[0]
        what = f"{metric!r} cannot score {item.id}: {why} ({len(unread)} rows in all)"
        yield Problem(where, what, next="docs/metrics.md says what its targets hold")
        return
    golds = [(item, metrics.gold_answer(metric, item.target)) for item in items]
    lost = [item for item, gold in golds if gold is not None and metrics.score_text(metric, gold, item.target) != 1]
    if lost:
        what = f"{metric!r} does not give the gold answer of {lost[0].id} full marks ({len(lost)} rows in all)"
        hint = "Take another metric, or correct the answers"
        yield Problem(where, what, "A right answer must be able to score 1", hint)
    elif all(
        metrics.score_text(metric, said, item.target) == 1 for item in items for said in (NONSENSE, "", item.target)
    ):
        what = f"{metric!r} gives any answer full marks on every row: it is constant by construction"
        yield Problem(where, what, "A wrong answer must be able to score 0", "Take another")
