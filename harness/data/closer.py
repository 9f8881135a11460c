"""The closer look that `harness check` takes: likely label errors, and token lengths where the tokenizer is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.data import suspects
from harness.data.example import Example, Turn
from harness.data.inspecting import example_of
from harness.data.length import measure_on_disk
from harness.data.policy import AuditSpec
from harness.data.rows import Data
from harness.data.scan import found_by
from harness.data.wording import bare
from harness.records import DataRecord, Finding

MOST_LABELLED, MOST_TEXT = 5_000, 2_000_000
"""Train rows, and characters of them, up to which label errors are looked for here: about 6 seconds on one core."""

MOST_MEASURED = 50_000
"""Train rows, the first ones, whose tokens are counted."""


@dataclass(frozen=True, slots=True)
class CloserLook:
    """What it found and what it left out."""

    record: DataRecord
    """The audit's record with the further findings."""
    notes: tuple[str, ...]
    """Lines for a reader: what was measured, what was skipped and why."""


def closer_look(
    data: Data, record: DataRecord, spec: AuditSpec, model: str, near: Path, max_length: int | None
) -> CloserLook:
    """Look for what takes seconds rather than nothing; nothing is fetched. Raises ModelError for a wrong model name.

    near: the folder that a relative model path is meant from. max_length: tokens that training allows, None for all
    that the model takes.
    """
    doubtful, about_labels = _doubtful(data, record, spec)
    cut, about_length = _measured(data, spec, model, near, max_length)
    findings = sorted((*record.findings, *doubtful, *cut), key=lambda f: (f.severity != "error", f.severity == "info"))
    return CloserLook(record.model_copy(update={"findings": tuple(findings)}), (*about_labels, *about_length))


def _doubtful(data: Data, record: DataRecord, spec: AuditSpec) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Train rows that are likely mislabelled, where the answers are labels."""
    if record.majority_answer is None or spec.action("label_error") == "ignore":
        return (), ()
    if not suspects.installed():
        return (), (f"likely label errors were not looked for: {suspects.INSTALL}",)
    examples = (example_of(row) for row in data.train.rows[: MOST_LABELLED + 1])
    rows = [suspects.Labelled(row.line, bare(row.question()), row.answer.strip()) for row in examples]
    text = sum(min(len(row.text), suspects.MOST_CHARACTERS) for row in rows)
    if len(rows) > MOST_LABELLED or text > MOST_TEXT:
        return (), ("likely label errors were not looked for in so many rows; `harness data audit` does it",)
    return found_by(suspects.suspects(rows), data.train.file, spec), ()


def _measured(
    data: Data, spec: AuditSpec, model: str, near: Path, max_length: int | None
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    measured = measure_on_disk(_whole_rows(data), data.train.file, model, near, max_length, spec)
    if measured is None:
        return (), ("tokens were not counted: the model's tokenizer is not on this machine yet",)
    lengths, cut = measured
    return cut, () if lengths is None else (f"train {lengths.told()}",)


def _whole_rows(data: Data) -> Iterator[Example]:
    """Train rows with the instruction that all of them share put back."""
    shared = (Turn("system", data.instruction),) if data.instruction else ()
    for row in data.train.rows[:MOST_MEASURED]:
        made = example_of(row)
        yield Example(made.line, made.format, (*shared, *made.prompt), made.answer)
