"""`model_card.md` and `data_card.md`, in the Hugging Face Hub's format: what the records say, and nothing else.

The front matter holds what the Hub reads (base model, licence, metrics as a model index); the text says the same with
intervals, and what a reader must know before use. What no record tells is left out: no language, no author, no carbon.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from jinja2 import Environment

from harness import evidence as ev
from harness.records import DataRecord, Finding, Interval, RunRecord, TrainingRecord
from harness.report import front
from harness.report.inert import line

BASE_LICENCE = "base model's licence"
"""What `data.json` calls it."""
LIBRARIES = {"lora": "peft", "peft": "peft", "model": "transformers"}
"""Kind of what was trained to the library that loads it; the others are loaded by none."""
RELATIONS = {"lora": "adapter", "peft": "adapter", "classifier": "adapter", "model": "finetune"}
"""Kind of what was trained to what it is to its base model, in the Hub's words."""
SHOWN_IN_FULL = ("instruction", "form of the question", "fixed answer")
"""Parts of a prompt that its text tells already."""
OVERALL = "all tasks, each by its first metric"
SEVERITIES = ("error", "warning", "info")
USED_FOR = {
    "train": "training, and the worked examples of prompts",
    "dev": "the prompt search, and looks while training",
    "test": "the verdict",
}


def model_card(page: Environment, evidence: ev.Evidence) -> str | None:
    """The card of what was trained; None where nothing was."""
    if evidence.training is None or evidence.provenance is None:
        return None
    name, base = ev.judged(evidence), front.base_model(evidence.provenance.model)
    judged = next((one for one in ev.contestants(evidence) if one.name == name and one.candidate.adapter), None)
    parts = ev.prompt_parts(judged.candidate.prompt, judged.candidate.decoding) if judged else []
    context = {
        "evidence": evidence,
        "headline": ev.headline(evidence),
        "decision": ev.DECISIONS[evidence.decision],
        "judged": judged,
        "base": base,
        "subject": ev.subject(evidence),
        "licence": _base_licence(evidence),
        "asked": [part for part in parts if part[0] not in SHOWN_IN_FULL],
        "conditions": judged.runs["task"].conditions if judged and "task" in judged.runs else None,
        "training_facts": [(what, told) for group, what, told in ev.facts_of(evidence) if group == "training"],
        "scores": _scores(evidence, name),
        "standing": ev.standing(evidence),
        "limits": _limits(evidence),
        "used_for": USED_FOR,
    }
    told = _model_front(evidence, evidence.training, base, judged)
    return front.front(told) + page.get_template("model_card.md.j2").render(context)


def data_card(page: Environment, evidence: ev.Evidence) -> str | None:
    """The card of the task's rows; None while they were not read."""
    data = evidence.data
    if data is None:
        return None
    told = {
        **front.licence(data.card.get("licence")),
        "pretty_name": line(evidence.name),
        "size_categories": [front.size_category(sum(split.rows for split in data.splits.values()))],
        "source_datasets": front.datasets(data.card.get("source")),
        "tags": ["finetune-harness"],
    }
    context = {
        "evidence": evidence,
        "data": data,
        "about": {what: text for what, text in data.card.items() if what != BASE_LICENCE},
        "unsaid": [what for what in ("source", "licence") if not data.card.get(what)],
        "rules": _by_rule(data),
        "used_for": USED_FOR,
        "look": evidence.finalist.look if evidence.finalist else None,
    }
    return front.front(told) + page.get_template("data_card.md.j2").render(context)


def _by_rule(data: DataRecord) -> list[list[Finding]]:
    """What the audit found, rule by rule, errors first."""
    found = sorted(data.findings, key=lambda one: (SEVERITIES.index(one.severity), one.rule))
    return [list(group) for _, group in groupby(found, key=lambda one: (one.severity, one.rule))]


def _base_licence(evidence: ev.Evidence) -> str | None:
    return evidence.data.card.get(BASE_LICENCE) if evidence.data else None


def _model_front(
    evidence: ev.Evidence, training: TrainingRecord, base: str | None, judged: ev.Contestant | None
) -> dict[str, Any]:
    kind = training.seeds[0].adapter.kind if training.seeds else "remote"
    runs = tuple(judged.runs.values()) if judged else ()
    return {
        **front.licence(_base_licence(evidence)),
        "base_model": base,
        "base_model_relation": RELATIONS.get(kind) if base else None,
        "library_name": LIBRARIES.get(kind),
        "pipeline_tag": _task_type(kind),
        "datasets": front.datasets(evidence.data.card.get("source")) if evidence.data else [],
        "tags": ["finetune-harness", line(training.method)],
        "metrics": sorted({summary.metric for run in runs for summary in run.metrics if summary.task != "*"}),
        "model-index": _index(evidence, kind, runs),
    }


def _task_type(kind: str) -> str:
    return "text-classification" if kind == "classifier" else "text-generation"


def _index(evidence: ev.Evidence, kind: str, runs: tuple[RunRecord, ...]) -> list[Mapping[str, Any]]:
    """The Hub's model index: every metric of the judged candidate's test runs that was measured."""
    known = front.datasets(evidence.data.card.get("source")) if evidence.data else []
    results = []
    for run in sorted(runs, key=lambda run: (run.suite != "task", run.suite)):
        own = run.suite == "task"
        for task in dict.fromkeys(summary.task for summary in run.metrics):
            if task == "*" and len(run.primary) == 1:
                continue  # the same number again
            metrics = [
                {
                    "type": one.metric,
                    "value": one.estimate.value,
                    "name": f"{OVERALL if task == '*' else one.metric} {_sure(one.estimate)}",
                }
                for one in run.metrics
                if one.task == task and one.estimate.value is not None
            ]
            dataset = {
                "type": known[0] if own and len(known) == 1 else line(evidence.name if own else run.suite),
                "name": line(evidence.name if own else run.suite),
                **({} if own and len(run.primary) == 1 else {"config": "all" if task == "*" else line(task)}),
                "split": "test",
            }
            if metrics:
                results.append({"task": {"type": _task_type(kind)}, "dataset": dataset, "metrics": metrics})
    return [{"name": line(evidence.name), "results": results}] if results else []


def _sure(estimate: Interval) -> str:
    """`[0.689, 0.789], 95 % interval, n = 300, wilson`: the Hub shows it beside the value."""
    return ", ".join(filter(None, (ev.span(estimate).partition(" ")[2], ev.basis(estimate))))


def _scores(evidence: ev.Evidence, judged: str) -> list[tuple[str, str, str, Interval]]:
    """Suite, metric, candidate and score of the base, the best prompt and who was judged, the task first."""
    shown = {ev.RAW, ev.BAR, judged, *(evidence.members(evidence.verdict.candidate) if evidence.verdict else ())}
    rows = []
    for suite in ("task", *evidence.suites):
        for one in ev.contestants(evidence):
            run = one.runs.get(suite)
            score = ev.suite_score(run)
            if run is not None and score is not None and one.name in shown:
                rows.append((suite, ", ".join(sorted(set(run.primary.values()))), one.name, score))
    return rows


def _limits(evidence: ev.Evidence) -> list[str]:
    """What speaks against the model, or bounds what is known of it: warnings, gates, training, data."""
    verdict = evidence.verdict
    told = list(verdict.warnings) if verdict else ["Nothing was decided yet; no number here was judged."]
    for gate in evidence.deciding_gates:
        if gate.outcome != "pass":
            told.append(f"{ev.gate_name(gate)}: {gate.outcome}. {gate.reason}")
    for seed in evidence.training.seeds if evidence.training else ():
        told += [f"Training, seed {seed.seed}: {found.message}" for found in seed.findings]
    for found in _by_rule(evidence.data) if evidence.data else ():
        if found[0].severity != "info":
            told.append(f"Data, {found[0].severity}: {found[0].rule}, {len(found)} found (data_card.md).")
    unscored = [
        f"{run.suite}: {run.unscored} of {run.n:,} items of {run.candidate.name} have no score."
        for run in (evidence.runs_of(verdict.candidate) if verdict else [])
        if run.unscored
    ]
    return told + unscored
