"""What a gate can name in a suite: its metrics, tasks and slices; of a deploy gate, all that its policy may say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.compare import HUMAN, MEASURES
from harness.data import Data
from harness.errors import Problem, did_you_mean
from harness.evaluate import TASK_SUITE, TaskSpec, compares_choices
from harness.gates import GateSpec, PolicySpec
from harness.metrics import CORPUS_METRICS
from harness.money import BudgetSpec
from harness.suites import Suite

NO_MEAN = "{!r} is no mean, and a recipe is judged on means"
ARTIFACT = "Use a metric that is a mean over items, or claim artifact"


@dataclass(frozen=True, slots=True)
class Known:
    """What a gate can name in one suite."""

    metrics: dict[str, tuple[str, ...]]
    """Task to its metrics."""
    texts: bool
    """Whether all answers are texts, over which a corpus metric can be computed."""
    slices: dict[str, dict[str, set[str]]]
    """Task to property to its values."""


class Terms(Protocol):
    """What the gates of a policy are judged under, in an experiment or a deploy gate."""

    @property
    def policy(self) -> PolicySpec:
        """Claim and error."""

    @property
    def budget(self) -> BudgetSpec:
        """Prices."""

    @property
    def repeats(self) -> int:
        """Answers per item of the task."""


def deploy_problems(
    terms: Terms, found: Sequence[Suite], task: TaskSpec | None, rows: Data | None, reference: str, file: str
) -> list[Problem]:
    """Every gate of a deploy gate that names what is not asked, or that cannot be judged there.

    task, rows: of the experiment whose own test split is asked too. reference: what gates may compare with.
    """
    known = {suite.name: of_suite(suite) for suite in found}
    if task is not None and rows is not None:
        own = {TASK_SUITE: slices_of(rows.test.slices)}
        known[TASK_SUITE] = Known({TASK_SUITE: (task.metric, *task.metrics)}, not compares_choices(task.metric), own)
    problems = []
    if terms.policy.claim != "artifact":
        hint = "Say claim: artifact, or leave it out"
        problems.append(Problem(f"{file}: claim", "a deploy gate judges these very weights", next=hint))
    for i, gate in enumerate(terms.policy.gates):
        where = f"{file}: gates[{i}]"
        if gate.must_not_break is not None or gate.metric == HUMAN:
            what = f"{gate.must_not_break or gate.metric!r} belongs to an experiment, whose rows and votes it needs"
            problems.append(Problem(where, what, next="Take it out of the policy of deploy gates"))
        elif gate.suite not in known:
            what = f"a gate is on {gate.suite!r}, which is not asked"
            hint = f"Add it: --suites {','.join([*known, gate.suite])}; or take the gate out"
            problems.append(Problem(f"{where}.suite", what, did_you_mean(gate.suite, list(known)), hint))
        elif gate.rule == "min_delta" and gate.against != reference:
            hint = f"Write against: {reference}, or leave it out: --against names who that is"
            problems.append(Problem(f"{where}.against", f"{gate.against!r} is not asked in a deploy gate", next=hint))
        else:
            problems += named_problems(gate, known[gate.suite], terms, where)
    return problems


def named_problems(gate: GateSpec, known: Known, terms: Terms, where: str) -> list[Problem]:
    """A gate on a suite that is known: its task, metric and slice."""
    if gate.task not in ("*", *known.metrics):
        hint = did_you_mean(gate.task, ["*", *known.metrics])
        return [Problem(f"{where}.task", f"unknown task {gate.task!r}", hint)]
    return [*metric_problems(gate, known, terms, where), *slice_problems(gate, known, where)]


def of_suite(suite: Suite) -> Known:
    """What a gate can name in a suite."""
    texts = all(task.output_type == "generate" for task in suite.tasks)
    slices = {task.name: slices_of([item.slices for item in task.items]) for task in suite.tasks}
    return Known({t.name: t.metrics for t in suite.tasks}, texts, slices)


def slices_of(of_items: Sequence[Mapping[str, str]]) -> dict[str, set[str]]:
    """Property to its values."""
    found: dict[str, set[str]] = {}
    for slices in of_items:
        for name, value in slices.items():
            found.setdefault(name, set()).add(value)
    return found


def metric_problems(gate: GateSpec, known: Known, spec: Terms, where: str) -> Iterator[Problem]:
    """A gate whose metric or measure is not there, cannot fail, or cannot be judged under these terms."""
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


def _human_problems(gate: GateSpec, known: Known, spec: Terms, where: str) -> Iterator[Problem]:
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


def _measure_problems(gate: GateSpec, spec: Terms, where: str) -> Iterator[Problem]:
    measure, budget = MEASURES[str(gate.metric)], spec.budget
    if measure.priced and budget.token_prices is None:
        hint = "Give budget.input_price and budget.output_price, per million tokens, each a single number"
        yield Problem(f"{where}.metric", f"{gate.metric} needs the prices of tokens", next=hint)
    if measure.quantile is not None and spec.policy.claim == "recipe" and gate.rule == "min_delta":
        yield Problem(f"{where}.metric", NO_MEAN.format(gate.metric), next=ARTIFACT)
    if measure.quantile is not None and spec.repeats > 1 and gate.suite == TASK_SUITE:
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


def slice_problems(gate: GateSpec, known: Known, where: str) -> Iterator[Problem]:
    """A gate on a property that no item has."""
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
