"""What production is held against: the training questions of an experiment, and the answers of what it judged."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from harness import data
from harness.data import DataSpec
from harness.errors import HarnessError, Problem, UsageError
from harness.metrics import JudgeSpec
from harness.records import Constraint, Provenance, RunRecord, SampleRecord, VerdictRecord, digest
from harness.store import ExperimentStore

LABELS: Final = 200
"""Different answers that a closed set may have."""
_SCHEME: Final = 1
"""Raised whenever a feature is measured otherwise, so that bets begun by another measure do not go on."""


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer must look like, whatever it says."""

    name: str
    """In words."""
    labels: tuple[str, ...] = ()
    """The closed set, where it is one; the most frequent first."""
    fits: Callable[[str], bool] = lambda answer: bool(answer.strip())


@dataclass(frozen=True, slots=True)
class Reference:
    """What to compare with; empty where nothing is known."""

    experiment: str | None = None
    questions: tuple[str, ...] = ()
    """Last user turns of the training rows."""
    answers: tuple[str, ...] = ()
    """Answers of the judged run on the test split."""
    scores: tuple[float, ...] = ()
    """Their primary scores."""
    form: Form = Form("not empty")
    metric: str | None = None
    judge: JudgeSpec | None = None
    made: str | None = None
    """When the experiment was made, ISO 8601."""
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Content identity of all reference values."""
        parts = [sorted(self.questions), sorted(self.answers), sorted(self.scores), self.form.name, self.form.labels]
        return digest([_SCHEME, *parts])


def of_experiment(folder: ExperimentStore) -> Reference:
    """The reference that an experiment gives. Raises HarnessError when its records cannot be read."""
    spec, notes = folder.spec(), []
    run, samples = _judged(folder)
    questions, golds = _trained_on(folder, spec)
    if not questions:
        questions = tuple(sample.question for sample in samples)
        notes.append("the training rows cannot be read; questions are held against those of the judged run")
    if run is None:
        notes.append("no judged run on the task; answers are held against their own past")
    metric = run.primary.get(samples[0].task) if run is not None and samples else None
    constraint = None if run is None else run.candidate.decoding.constraint
    scores = [sample.scores.get(metric) for sample in samples] if metric else []
    provenance, judge = folder.read(Provenance), spec.get("judge")
    return Reference(
        experiment=folder.id,
        questions=questions,
        answers=tuple(sample.answer for sample in samples if sample.answer is not None),
        scores=tuple(score for score in scores if score is not None and 0 <= score <= 1),
        form=form_of(golds or [sample.target for sample in samples], constraint),
        metric=metric,
        judge=JudgeSpec.model_validate(judge) if judge else None,
        made=provenance.created if provenance else None,
        notes=tuple(notes),
    )


def _judged(folder: ExperimentStore) -> tuple[RunRecord | None, list[SampleRecord]]:
    """The run of the candidate that the verdict names, on the test split of the task."""
    verdict = folder.read(VerdictRecord)
    if verdict is None:
        hint = "Finish it first: harness run SPEC"
        raise UsageError(Problem(folder.id, "has no verdict, so nothing of it was judged", next=hint))
    runs = [run for run in folder.runs() if run.suite == "task" and run.split == "test"]
    named = [run for run in runs if run.candidate.name == verdict.candidate]
    run = next(iter(named or [r for r in runs if r.candidate.name.startswith(verdict.candidate)]), None)
    return run, folder.samples(run.id) if run else []


def _trained_on(folder: ExperimentStore, spec: dict[str, Any]) -> tuple[tuple[str, ...], list[str]]:
    """Questions and gold answers of the training rows; empty where they cannot be read any more."""
    try:
        rows = data.load(DataSpec.model_validate(spec.get("data")), folder.path)
    except (HarnessError, ValidationError):
        return (), []
    items = rows.train.to_learn_from()
    asked = [next((m.content for m in reversed(item.messages) if m.role == "user"), "") for item in items]
    return tuple(asked), [item.target for item in items]


def form_of(golds: Sequence[str], constraint: Constraint | None = None) -> Form:
    """The form of the answers: what was enforced, else what all gold answers share."""
    if constraint is not None and constraint.choices:
        return _closed(constraint.choices)
    if constraint is not None and constraint.regex:
        pattern = re.compile(constraint.regex)
        return Form(f"matches {constraint.regex}", (), lambda answer: bool(pattern.fullmatch(answer)))
    if constraint is not None and constraint.json_schema is not None:
        return _schema(constraint.json_schema)
    counts = Counter(gold.strip() for gold in golds)
    if counts and len(counts) <= LABELS and len(counts) <= len(golds) / 4:
        return _closed([label for label, _ in counts.most_common()])
    keys = [_keys(gold) for gold in golds]
    if keys and all(key is not None for key in keys):
        shared = frozenset.intersection(*(key for key in keys if key is not None))
        told = f" with {', '.join(sorted(shared))}" if shared else ""
        return Form(f"JSON{told}", (), lambda answer: (found := _keys(answer)) is not None and shared <= found)
    return Form("not empty")


def _closed(labels: Sequence[str]) -> Form:
    known = {label.strip().casefold() for label in labels}
    return Form(f"one of {len(known)} labels", tuple(labels), lambda answer: answer.strip().casefold() in known)


def _schema(schema: Any) -> Form:
    """Held against the schema where `jsonschema` is installed, else JSON alone; the name says which."""
    try:
        import jsonschema
    except ImportError:
        return Form("JSON (install finetune-harness[metrics] to hold it against the schema)", (), _is_json)
    validator = jsonschema.validators.validator_for(schema)(schema)

    def fits(answer: str) -> bool:
        try:
            return bool(validator.is_valid(json.loads(answer)))
        except (ValueError, RecursionError):
            return False

    return Form("JSON by the schema", (), fits)


def _is_json(answer: str) -> bool:
    try:
        json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return True


def _keys(text: str) -> frozenset[str] | None:
    """Keys of a JSON object, nothing for a JSON list, None for what is neither."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        return frozenset(found)
    return frozenset() if isinstance(found, list) else None
