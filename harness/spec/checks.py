"""What one part of a spec says against what another knows: metrics and slices that gates name, answers that fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from harness import metrics
from harness.data import Data, question
from harness.errors import Problem, did_you_mean
from harness.evaluate import TASK_SUITE, TaskSpec, compares_choices
from harness.gates import GateSpec
from harness.metrics import CORPUS_METRICS
from harness.prompts import closed_set
from harness.prompts.spec import Contestant
from harness.records import Item
from harness.spec.model import ExperimentSpec
from harness.spec.ruling import Known, metric_problems, of_suite, slice_problems, slices_of
from harness.suites import Suite

NONSENSE = "\u2043\u2043"
"""An answer that is right for no question: a metric that gives it full marks cannot fail."""


def gate_problems(spec: ExperimentSpec, rows: Data | None, found: Sequence[Suite], file: str) -> list[Problem]:
    """Every gate that names what is not there, cannot fail or cannot be judged; and gates that decide nothing together.

    Gates of a policy are told as `policy.gates[i]`, those that stop before training as `enough[i]`.
    """
    known = {suite.name: of_suite(suite) for suite in found}
    own = slices_of(rows.test.slices if rows is not None else ())
    texts = not compares_choices(spec.task.metric)
    known[TASK_SUITE] = Known({TASK_SUITE: (spec.task.metric, *spec.task.metrics)}, texts, {TASK_SUITE: own})
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
        problems += metric_problems(gate, known[gate.suite], spec, where)
        if gate.suite != TASK_SUITE or rows is not None:
            problems += slice_problems(gate, known[gate.suite], where)
    for i, gate in enumerate(spec.enough):
        problems += _enough_problems(gate, known[TASK_SUITE], spec, f"{file}: enough[{i}]", rows is not None)
    return problems


def _enough_problems(gate: GateSpec, known: Known, spec: ExperimentSpec, where: str, read: bool) -> Iterator[Problem]:
    """Gates before training judge the best prompt alone, on the task; there is nothing to compare it with."""
    allowed = "at_least or at_most on the task, blocking, e.g. {metric: latency_p95_s, at_most: 2}"
    if gate.rule not in ("at_least", "at_most"):
        yield Problem(where, f"{gate.rule} is no gate for a prompt before training", allowed)
    elif gate.suite != TASK_SUITE or gate.task not in ("*", TASK_SUITE):
        yield Problem(f"{where}.suite", f"{gate.suite!r} is not asked before training", allowed)
    elif not gate.blocking:
        yield Problem(f"{where}.tier", "an advisory gate decides nothing here", allowed)
    else:
        yield from metric_problems(gate, known, spec, where)
        if read:
            yield from slice_problems(gate, known, where)


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
