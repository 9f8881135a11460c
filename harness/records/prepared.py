"""Before training: the data as it was found, and the race of prompts."""

from __future__ import annotations

from pydantic import Field

from harness.records.answered import Interval
from harness.records.asked import Prompt
from harness.records.base import SCHEMA_VERSION, Action, Record, SchemaVersion, Severity, SplitName


class Finding(Record):
    """One thing the data audit found."""

    rule: str
    """Rule name, e.g. `leak_exact`, `duplicate_exact`, `empty_answer`."""
    severity: Severity
    """Errors stop the run; info needs no answer."""
    file: str
    """File name as spelled in the spec."""
    line: int
    """1-based physical line; 0 when it concerns the whole file."""
    message: str
    """What is wrong and what to do."""
    action: Action = "warn"
    """What is done about the row, here and by `harness data clean`."""
    partner_line: int | None = None
    """The other line of the same file, where it takes two."""
    test_id: str | None = None
    """Id of the evaluation row that this one gives away."""
    similarity: float | None = None
    """How alike the two are, from 0 to 1."""


class SplitRecord(Record):
    """One split of the task's data."""

    file: str
    """File name as spelled in the spec."""
    rows: int
    """Rows in use."""
    fingerprint: str
    """Content identity, independent of row order."""


class DataRecord(Record):
    """The task's data: what it is and what was found in it."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    format: str
    """Detected row format, e.g. `messages`, `prompt/completion`."""
    splits: dict[SplitName, SplitRecord]
    """train, dev, test."""
    findings: tuple[Finding, ...]
    """All findings, errors first."""
    card: dict[str, str] = Field(default_factory=dict)
    """Source, licence and notes, as the spec gives them."""
    majority_answer: str | None
    """Most frequent answer in train, where answers repeat."""
    majority_score: float | None
    """Share of test rows that always giving it would get right."""


class ArmRecord(Record):
    """One contestant of the prompt race."""

    prompt: Prompt
    """The arm itself."""
    scores: tuple[float | None, ...]
    """Scores on the shared dev items, in the order they were asked."""
    mean: float | None
    """Mean of the scored."""
    rung: int
    """Last rung reached (0-based)."""
    fate: str
    """`winner`, or why and when it fell."""


class PromptRecord(Record):
    """The prompt race: every arm, every score, and the winner."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    search: str
    """`race` or `none`."""
    metric: str
    """What was optimised, on dev."""
    budget: int
    """Model calls allowed."""
    calls: int
    """Model calls made, cached ones included."""
    seed: int
    """Seed of demonstrations and item order."""
    dev_ids: tuple[str, ...]
    """Dev items in the order they were asked; all arms share it."""
    arms: tuple[ArmRecord, ...]
    """Best first."""
    winner: Prompt
    """The best prompt."""
    winner_dev: Interval
    """Its score over the dev items it was asked (optimistic: it was chosen on them)."""
