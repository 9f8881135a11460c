"""The facts of an experiment as short lines: data, prompt search, training, provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.evidence.gatesides import side_rows
from harness.evidence.gathered import Evidence
from harness.evidence.numbers import field, number
from harness.evidence.prompting import prompt_parts
from harness.records import DataRecord, PromptRecord, Provenance, TrainingRecord

Fact = tuple[str, str, str]
"""Group, what, value."""


def facts_of(evidence: Evidence) -> list[Fact]:
    """Every fact, group by group; a stage without a record has none."""
    made = [("sides", name, f"{given}; {what}; {runs}") for name, given, what, runs in side_rows(evidence)]
    made += _data_facts(evidence.data) + _race_facts(evidence.prompt)
    return made + _training_facts(evidence.training) + _provenance_facts(evidence.provenance)


def _data_facts(data: DataRecord | None) -> list[Fact]:
    if data is None:
        return []
    made = [("data", f"{name} split", f"{split.rows} rows, {split.file}") for name, split in data.splits.items()]
    made.append(("data", "format", data.format))
    made += [("data", name, text) for name, text in data.card.items()]
    if data.majority_score is not None:
        made.append(("data", "majority answer", f"{data.majority_answer} is right on {number(data.majority_score)}"))
    return made


def _race_facts(race: PromptRecord | None) -> list[Fact]:
    if race is None:
        return []
    if race.budget_unit == "calls":
        spent = f"{race.calls:,} of {race.budget:,} model calls"
        spent += "" if race.tokens is None else f", {race.tokens:,} tokens"
    else:
        spent = f"{number(race.tokens, 0)} of {race.budget:,} tokens, {race.calls:,} model calls"
    made = [("prompt", "search", f"{race.search}: {spent}, seed {race.seed}")]
    if race.proposer is not None:
        made.append(("prompt", "instructions proposed by", race.proposer))
    made.append(("prompt", "winner", race.winner.name))
    return made + [
        ("prompt", f"winner's {what}", told) for what, told in prompt_parts(race.winner, race.winner_decoding)
    ]


def _training_facts(training: TrainingRecord | None) -> list[Fact]:
    if training is None:
        return []
    seen = training.supervision
    made = [
        ("training", "method", f"{training.method} on {training.device}"),
        ("training", "arguments", ", ".join(_settings(training.arguments))),
    ]
    if training.learned_from:
        made.append(("training", "rows", training.learned_from))
    if seen.rows:  # none where others trained: their tensors were not seen
        made += [
            ("training", "learned from", f"{seen.supervised_tokens} of {seen.tokens} tokens in {seen.rows} rows"),
            ("training", "rows truncated", str(seen.rows_truncated)),
            ("training", "rows that end their turn", f"{seen.rows_with_end_of_turn} of {seen.rows}"),
        ]
    if seen.chat_template is not None:
        made.append(("training", "chat template", f"{seen.chat_template[:12]}, the one that is served"))
    if training.forecast is not None:
        made.append(("training", "memory forecast", f"{training.forecast.total / 2**30:.1f} GiB"))
    for one in training.seeds:
        memory = "" if one.peak_memory_bytes is None else f", peak {one.peak_memory_bytes / 2**30:.1f} GiB"
        size = "" if one.trainable_parameters is None else f", {one.trainable_parameters:,} parameters"
        told = f"{one.steps} steps in {one.seconds:.0f} s{memory}{size}"
        told += "" if one.managed is None else f", job {one.managed.job} at {one.managed.service}"
        made.append(("training", f"seed {one.seed}", told + (f", resumed {one.resumed}×" if one.resumed else "")))
        if (chosen := next((point for point in one.dev if point.step == one.chosen_step), None)) is not None:
            told = f"best on dev at step {chosen.step} of {one.steps}: {number(chosen.score)}, n = {chosen.n}"
            told += ", stopped early" if one.stopped_early else ""
            share = None if one.dev_seconds is None else 100 * one.dev_seconds / max(one.seconds, 1e-9)
            told += "" if share is None else f"; looks at dev took {share:.0f} % of the time"
            made.append(("training", f"seed {one.seed} on dev", told))
        made += [("training", f"seed {one.seed}: {found.rule}", found.message) for found in one.findings]
    if training.cost is not None:
        made.append(("training", "cost", f"{training.cost:,.3g}"))
    return made


def _settings(given: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """`rank 16`, `select.items 60`: what was set, by name; what was left to its default is left out."""
    for name, value in sorted(given.items()):
        if isinstance(value, Mapping):
            yield from _settings(value, f"{above}{name}.")
        elif value is not None:
            listed = value if isinstance(value, list | tuple) else [value]
            yield f"{above}{name} {' '.join(str(v).lower() if isinstance(v, bool) else field(v) for v in listed)}"


def _provenance_facts(made_with: Provenance | None) -> list[Fact]:
    if made_with is None:
        return []
    packages = ", ".join(f"{name} {version}" for name, version in sorted(made_with.packages.items()))
    own_code = ", run by code of its own, which the spec trusts" if made_with.model.remote_code else ""
    return [
        ("provenance", "model", f"{made_with.model.name} ({made_with.model.digest[:12]}){own_code}"),
        ("provenance", "engine", made_with.engine),
        (
            "provenance",
            "machine",
            f"{made_with.platform}, {made_with.cpus} cores, {', '.join(made_with.gpus) or 'no GPU'}",
        ),
        ("provenance", "commit", made_with.commit or "not in a git repository"),
        ("provenance", "harness", made_with.harness_version),
        ("provenance", "python", made_with.python),
        ("provenance", "packages", packages),
        ("provenance", "seeds", ", ".join(f"{name} {value}" for name, value in sorted(made_with.seeds.items()))),
        ("provenance", "created", made_with.created),
    ]
