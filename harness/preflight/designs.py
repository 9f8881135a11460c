"""What each gate's comparison will be made of: items and clusters at hand, differences measured, stated or assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.compare import HUMAN, LEAST_VOTES, MEASURES
from harness.evaluate import TASK_SUITE
from harness.gates import Forecast, GateSpec, forecast, forecast_score, no_forecast
from harness.gates.forecasting import over_seeds
from harness.gates.watching import can_be_watched
from harness.metrics import CORPUS_METRICS
from harness.preflight.earlier import Earlier
from harness.spec import Experiment
from harness.stats import Design

DISCORDANCE = 0.10
"""Share of items that differ, assumed where nothing was stated or measured."""
ICC = 0.2
"""Correlation of differences inside a cluster, assumed likewise."""
REFERENCE = 0.5
"""The reference's score, assumed likewise; only relative margins ask for it."""
SEED_SD = 0.02
"""How far trainings with other seeds are assumed to differ, for a claim about the recipe: two points."""
HOPE = 0.10
"""How far above a required gain the true one is hoped to be, where the gate does not say."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a forecast needs to know of an item."""

    cluster: str | None
    slices: dict[str, str]


def foresee(experiment: Experiment, gate: GateSpec, earlier: Earlier, level: float) -> Forecast:
    """What a gate can decide with the items at hand. level: one-sided error that a pass may spend."""
    power = experiment.spec.policy.power
    members = [] if gate.must_not_break else _members(experiment, gate)
    members, slice = _cut(members, gate)
    if gate.must_not_break is not None:
        n = experiment.must_not_break[gate.must_not_break].size
        why = f"Every one of {n} items must be right: who gets 99% of such items right passes with {0.99**n:.0%}."
        return no_forecast(gate, Design(n, 0.0), why, level=level, power=power)
    design = _made_of(members)
    why_not = _no_forecast_of(gate)
    if why_not:
        return no_forecast(gate, design, why_not, level=level, power=power)
    if gate.rule == "at_least" and design.clustered:
        why = f"{design.n} items in {design.units} clusters: how much clusters agree shows when it is measured."
        return no_forecast(gate, design, why, level=level, power=power)
    if gate.rule == "at_least":
        return forecast_score(gate, design.n, level=level, power=power, slice=slice)
    known = earlier.like(gate, slice)
    source, reference = "assumed", REFERENCE
    if known is not None:
        seen, source, reference = known.design, known.source, known.reference_mean
        icc = seen.icc if seen.clustered else design.icc
        design = replace(design, discordance=seen.discordance, size=seen.size, icc=icc)
    if gate.discordance is not None:
        design, source = replace(design, discordance=gate.discordance), "stated in the gate"
    made = forecast(
        gate, design, level=level, power=power, hoped=_hoped(gate, reference), source=source, reference=reference,
        slice=slice, early=_early(experiment, gate),
    )  # fmt: skip
    seeds = len(experiment.spec.train.seeds)
    return made if experiment.spec.policy.claim == "artifact" else over_seeds(made, design, seeds, SEED_SD)


def _members(experiment: Experiment, gate: GateSpec) -> list[Member]:
    """Items of the gate's suite and task."""
    if gate.suite == TASK_SUITE:
        test = experiment.data.test
        return [Member(cluster, slices) for cluster, slices in zip(test.clusters, test.slices, strict=True)]
    suite = next(suite for suite in experiment.suites if suite.name == gate.suite)
    tasks = [task for task in suite.tasks if gate.task in ("*", task.name)]
    return [Member(item.cluster, item.slices) for task in tasks for item in task.items]


def _cut(members: list[Member], gate: GateSpec) -> tuple[list[Member], str | None]:
    """The slice of a gate; for one on the worst slice that with the fewest items, the hardest to decide."""
    if gate.slice is not None:
        name, _, value = (part.strip() for part in gate.slice.partition("="))
        return [member for member in members if member.slices.get(name) == value], gate.slice
    if gate.worst_slice is None:
        return members, None
    counts = Counter(m.slices[gate.worst_slice] for m in members if gate.worst_slice in m.slices)
    value, _ = min(counts.items(), key=lambda pair: (pair[1], pair[0]))
    return [m for m in members if m.slices.get(gate.worst_slice) == value], f"{gate.worst_slice}={value}"


def _made_of(members: Sequence[Member]) -> Design:
    """Independent 0/1 items but for their clusters, with differences as they are assumed."""
    labels = [member.cluster if member.cluster is not None else index for index, member in enumerate(members)]
    sizes = tuple(Counter(labels).values())
    return Design(len(members), DISCORDANCE, cluster_sizes=sizes if len(sizes) < len(members) else None, icc=ICC)


def _no_forecast_of(gate: GateSpec) -> str | None:
    """Why nothing can be told of a gate beforehand, or None."""
    if gate.metric == HUMAN:
        return f"People vote after the run; until {LEAST_VOTES} pairs have a vote the gate is inconclusive."
    if gate.metric in MEASURES:
        return "How much it varies shows when it is measured; judge it by the first run."
    if gate.metric in CORPUS_METRICS:
        return "A metric of all answers together: how much it varies shows when it is measured."
    if gate.rule == "at_most" or (gate.at_least is not None and not 0 <= gate.at_least < 1):
        return f"A limit of {gate.margin:g} on a score between 0 and 1 is not forecast."
    return None


def _early(experiment: Experiment, gate: GateSpec) -> bool:
    """Whether the gate will be decided by betting: its suite may stop early, and every gate on it has such a test."""
    rules = [rule for rule in experiment.spec.rules if rule.suite == gate.suite and rule.rule != "must_not_break"]
    return experiment.spec.stop_early and can_be_watched(experiment.spec.policy, rules)


def _hoped(gate: GateSpec, reference: float) -> float | None:
    """The true difference that is hoped for; None: to be equal is enough."""
    margin = (gate.min_delta or 0.0) * (reference if gate.relative else 1)
    if gate.hoped is not None or margin < 0:
        return gate.hoped
    return min(margin + HOPE, 1.0)
