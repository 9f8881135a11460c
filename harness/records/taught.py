"""What came before training: sweeps over its arguments, rows made by a teacher or an AI judge."""

from __future__ import annotations

from typing import Any, Literal

from harness.records.asked import AdapterRef
from harness.records.base import SCHEMA_VERSION, Record, SchemaVersion
from harness.records.trained import DevPoint


class TrialRecord(Record):
    """One training of a sweep."""

    number: int
    """In order of their beginning."""
    fields: dict[str, Any]
    """What of `train` it changed."""
    score: float | None
    """Best dev score; None where it failed."""
    state: Literal["complete", "pruned", "failed"]
    """How it ended."""
    steps: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Wall time."""
    reason: str = ""
    """Why it failed or was pruned."""
    curve: tuple[DevPoint, ...] = ()
    """Its looks at dev."""
    adapter: AdapterRef | None = None
    """What came out; None where it did not end, and in older records."""


class SweepRecord(Record):
    """A search over fields of `train` by dev score."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    fields: dict[str, Any]
    """What was searched over."""
    trials: tuple[TrialRecord, ...]
    """Every trial."""
    best: dict[str, Any]
    """The fields that were taken."""
    seconds: float
    """Wall time of all."""


class TaughtRow(Record):
    """What a teacher or a judge made of one train row."""

    id: str
    """Of the row."""
    answers: tuple[str, ...] = ()
    """Every sampled answer."""
    scores: tuple[float | None, ...] = ()
    """Their scores by the task's first metric; None where it has none (teacher)."""
    kept: tuple[int, ...] = ()
    """Indices of the answers that are learned from, best first."""
    chosen: int | None = None
    """Index of the better answer (feedback)."""
    rejected: int | None = None
    """Index of the worse answer (feedback)."""
    reason: str = ""
    """Why nothing of it is learned from; or the judge's words."""


class TaughtRecord(Record):
    """Rows made by a teacher (distillation) or an AI judge (feedback) before training."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    kind: Literal["teacher", "feedback"]
    """Which."""
    model: str
    """Who answered or judged, by name; of a local model with its digest."""
    conditions: dict[str, Any]
    """Under what it answered: engine, prompt, temperature, the constitution's digest."""
    rows: tuple[TaughtRow, ...]
    """One a train row."""
    calls: int
    """Model calls."""
    failed: int
    """Calls without an answer."""
    tokens_in: int
    """Prompt tokens of all calls."""
    tokens_out: int
    """Generated tokens of all calls."""
    made: int
    """Rows or pairs to learn from."""
