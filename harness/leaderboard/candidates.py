"""A row per candidate: what was measured of it, how it stands to the bar, what its gates say, what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from harness import evidence as ev
from harness.evidence import Contestant, Evidence
from harness.leaderboard.costs import money_per_1000, training_money
from harness.records import GateRecord, Interval, Role

SUITE_COLUMNS: dict[str, str] = {
    "score": "Mean primary score on the suite.",
    "low": "Lower end of its interval.",
    "high": "Upper end of its interval.",
    "n": "Items that entered.",
    "method": "How its interval was computed.",
    "gate": "Worst outcome of the gates on the suite: pass, inconclusive or fail; none when it was not gated.",
    "role": "What the suite is for: regression or safety.",
}
"""For every other suite S, `rows` has the columns `S score`, `S low`, ..., `S role`."""

COLUMNS: dict[str, str] = {
    "experiment": "Experiment id: its folder in the store.",
    "name": "Experiment name.",
    "order": "Place inside its experiment: 0 is the raw base, then other prompts, the best one, then the tuned ones.",
    "candidate": "Who answered. `majority` always gives the most frequent training answer.",
    "method": "How it was made: the prompt's name, or the training method and its seed.",
    "asked": "Its prompt in a few words: demonstrations, what is looked up, reasoning, constraint.",
    "score": "Mean primary score on the task's test split.",
    "score_low": "Lower end of the score's interval.",
    "score_high": "Upper end of the score's interval.",
    "score_n": "Items that entered the score.",
    "score_method": "How the score's interval was computed.",
    "delta": "Paired difference to the bar on the same items: to the best prompt, or to a deploy gate's reference.",
    "delta_low": "Lower end of the difference's interval.",
    "delta_high": "Upper end of the difference's interval.",
    "delta_n": "Items joined for the difference.",
    "delta_method": "How the difference's interval was computed.",
    "gain": "The difference as it is read: in its unit, with its interval.",
    "delta_of": "Whose difference it is: the candidate's own, or the mean over the seeds named.",
    "task_gate": "Worst outcome of the gates on the task: pass, inconclusive or fail.",
    "task_gates": "Every gate on the task in words.",
    "regression": "Worst outcome of the gates on regression suites and on items that must not break.",
    "regression_gates": "Every such gate in words.",
    "safety": "Worst outcome of the gates on safety suites.",
    "safety_gates": "Every such gate in words.",
    "decision": "The experiment's verdict: promote, reject, inconclusive, prompt_suffices, or unfinished.",
    "looks": "Which look at the task's test split it was, of how many declared; missing for one that was not judged.",
    "claim": "What the verdict claims of a judged candidate: artifact, these weights; recipe, training this way.",
    "tokens_in": "Prompt tokens per request on the task.",
    "tokens_out": "Generated tokens per request on the task.",
    "latency_p50_s": "Median seconds per answer on the task; missing where no model answered.",
    "latency_p95_s": "95th percentile of the seconds per answer on the task.",
    "cost_per_1000": "1,000 requests at the experiment's prices, the middle of their range; missing without prices.",
    "training_s": "Seconds of training, all sittings.",
    "training_cost": "Its training and its sweep at the price of the machine's hour; missing where that has none.",
    "seed": "Training seed.",
    "seeds": "How many trainings differ from it by the seed alone, itself included.",
    "spread_low": "Lowest task score among those seeds; missing for a single one.",
    "spread_high": "Highest task score among those seeds; missing for a single one.",
    "text_lost": "What held-out general text lost in likelihood against the base model, in nats per byte.",
    **{f"text_lost_{end}": SUITE_COLUMNS[end] for end in ("low", "high", "n", "method")},
    "kl": "KL(base || tuned) on general prompts, in nats per token of the base model's own answers.",
    **{f"kl_{end}": SUITE_COLUMNS[end] for end in ("low", "high", "n", "method")},
    "unscored": "Task items without a score; they count neither as right nor as wrong.",
}
"""Every fixed column of `rows`, with what it means."""


def frame(made: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame: fixed columns first, then those of the other suites as they come."""
    listed = list(made)
    extra = dict.fromkeys(key for row in listed for key in row if key not in COLUMNS)
    table = pd.DataFrame(listed, columns=[*COLUMNS, *extra])
    whole = [c for c in table.columns if c in ("order", "seed", "seeds", "unscored") or c.endswith((" n", "_n"))]
    return table.astype(dict.fromkeys(whole, "Int64"))


def rows_of(evidence: Evidence) -> list[dict[str, Any]]:
    """The rows of one experiment: its contestants in order, then the majority answer where nobody gave it."""
    everyone = ev.contestants(evidence)
    roles: dict[str, Role] = {run.suite: run.role for run in evidence.runs}
    made = [_row(evidence, one, everyone, roles) for one in everyone]
    data = evidence.data
    if data and data.majority_score is not None and "majority" not in [one.name for one in everyone]:
        test = data.splits.get("test")
        made.append(
            {
                **_identity(evidence, len(everyone), "majority"),
                "method": "most frequent",
                "score": data.majority_score,
                "score_n": test.rows if test else None,
                "score_method": "exact share",
            }
        )
    return made


def _identity(evidence: Evidence, order: int, candidate: str) -> dict[str, Any]:
    return {
        "experiment": evidence.id,
        "name": evidence.name,
        "order": order,
        "candidate": candidate,
        "decision": evidence.decision,
    }


def _row(
    evidence: Evidence, one: Contestant, everyone: Sequence[Contestant], roles: Mapping[str, Role]
) -> dict[str, Any]:
    task, to_bar = one.runs.get("task"), one.to_bar
    row = _identity(evidence, one.order, one.name) | {
        "method": one.method,
        "asked": one.asked,
        **_interval("score", "_", one.score),
        **_interval("delta", "_", to_bar.difference if to_bar else None),
        "gain": ev.compared(to_bar).shown if to_bar else None,
        "delta_of": " + ".join(ev.who(to_bar.candidate)) if to_bar else None,
        **_lights(one.gates, roles),
        "looks": ev.look_number(one.look),
        "claim": evidence.verdict.claim if evidence.verdict and one.gates else None,
        "tokens_in": one.tokens_in,
        "tokens_out": one.tokens_out,
        "latency_p50_s": one.latency_p50_s,
        "latency_p95_s": task.latency_p95_s if task else None,
        "cost_per_1000": money_per_1000(evidence, one),
        "training_s": one.training.seconds if one.training else None,
        "training_cost": training_money(evidence, one),
        "seed": one.seed,
        **({} if evidence.is_gate else _spread(one, everyone)),
        **_interval("text_lost", "_", one.forgotten.text if one.forgotten else None),
        **_interval("kl", "_", one.forgotten.kl if one.forgotten else None),
        "unscored": task.unscored if task else None,
    }
    for suite in evidence.suites:
        row |= _interval(f"{suite} ", "", ev.suite_score(one.runs.get(suite)))
        row[f"{suite} gate"] = worst(gate for gate in one.gates if gate.suite == suite)
        row[f"{suite} role"] = roles[suite]
    return row


def _interval(prefix: str, joint: str, interval: Interval | None) -> dict[str, Any]:
    """An interval as five columns."""
    names = {"low": "low", "high": "high", "n": "n", "method": "method"}
    value_name = prefix if joint else f"{prefix}score"
    values = {value_name: interval.value if interval else None}
    return values | {f"{prefix}{joint}{n}": getattr(interval, f) if interval else None for n, f in names.items()}


def _lights(gates: Sequence[GateRecord], roles: Mapping[str, Role]) -> dict[str, str | None]:
    """Task, regression and safety: the worst outcome of each, and its gates in words."""
    made: dict[str, str | None] = {}
    for role, column in (("task", "task_gate"), ("regression", "regression"), ("safety", "safety")):
        mine = [gate for gate in gates if role_of(gate, roles) == role]
        made[column] = worst(mine)
        words = [f"{gate.outcome}: {_on(gate)}{ev.demand(gate)}: {ev.evidence_shown(gate)}" for gate in mine]
        made[f"{column.removesuffix('_gate')}_gates"] = "; ".join(words) or None
    return made


def _on(gate: GateRecord) -> str:
    return "" if gate.rule == "must_not_break" else f"{ev.place(gate)} "


def role_of(gate: GateRecord, roles: Mapping[str, Role]) -> Role:
    """What a gate looks at; items that must not break are named by their file and guard against regression."""
    return "task" if gate.suite == "task" else roles.get(gate.suite, "regression")


def worst(gates: Iterable[GateRecord]) -> str | None:
    """The worst outcome of several gates, None without one."""
    outcomes = {gate.outcome for gate in gates}
    return next((outcome for outcome in ev.WORST_FIRST if outcome in outcomes), None)


def _spread(one: Contestant, everyone: Sequence[Contestant]) -> dict[str, Any]:
    """Trainings that differ by the seed alone: how many, and how far their task scores lie apart."""
    if one.seed is None:
        return {}
    alike = [other for other in everyone if other.seed is not None and _recipe(other) == _recipe(one)]
    scores = [other.score.value for other in alike if other.score and other.score.value is not None]
    several = len(scores) > 1
    return {
        "seeds": len(alike),
        "spread_low": min(scores) if several else None,
        "spread_high": max(scores) if several else None,
    }


def _recipe(one: Contestant) -> tuple[str, str]:
    adapter = one.candidate.adapter
    return adapter.method if adapter else "", one.candidate.prompt.name
