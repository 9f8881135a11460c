"""Before training: the data as it was found, and the race of prompts."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.records.answered import Interval
from harness.records.asked import Decoding, Prompt
from harness.records.base import SCHEMA_VERSION, Action, Grown, Record, SchemaVersion, Severity, SplitName


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


class ArmRecord(Grown):
    """One contestant of the prompt search."""

    later: ClassVar[frozenset[str]] = frozenset({"decoding", "origin", "asked", "tokens"})

    prompt: Prompt
    """The arm itself."""
    decoding: Decoding | None = None
    """How it decodes; None in older records, whose arms decoded as the task states."""
    origin: str = ""
    """Where it came from, e.g. `rule: labels`, `yours`, `proposed`, `crossed`, `gepa`."""
    asked: tuple[str, ...] = ()
    """Dev ids that it was asked, in order; empty in older records, which asked the first of `dev_ids`."""
    scores: tuple[float | None, ...]
    """Scores on the dev items that it was asked, in that order."""
    mean: float | None
    """Mean of the scored."""
    tokens: int | None = None
    """Prompt and answer tokens over all its calls; None where the engine does not count."""
    rung: int
    """Last round in which it was asked (0-based)."""
    fate: str
    """`winner`, or why and when it fell."""


class TracePoint(Record):
    """How good the best prompt so far was when so much of the budget was spent."""

    calls: int
    """Model calls made so far."""
    tokens: int | None
    """Tokens so far; None where the engine does not count."""
    leader: str
    """Name of the arm that led."""
    mean: float | None
    """Its mean on the dev items it had been asked by then."""


class PromptRecord(Grown):
    """The prompt search: every arm, every score, and the winner."""

    later: ClassVar[frozenset[str]] = frozenset({"winner_decoding", "budget_unit", "tokens", "proposer", "trace"})

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    search: str
    """`race`, `gepa`, `dspy` or `none`."""
    metric: str
    """What was optimised, on dev."""
    budget: int
    """Model calls or tokens allowed."""
    budget_unit: str = "calls"
    """`calls` or `tokens`."""
    calls: int
    """Model calls made, those of earlier sittings included."""
    tokens: int | None = None
    """Prompt and answer tokens over all calls; None where the engine does not count."""
    proposer: str | None = None
    """Which model wrote instruction variants; None when none did."""
    seed: int
    """Seed of demonstrations and item order."""
    dev_ids: tuple[str, ...]
    """Dev items in the order they were asked; all arms share it."""
    arms: tuple[ArmRecord, ...]
    """Best first."""
    trace: tuple[TracePoint, ...] = ()
    """The best so far over the search, a point a round."""
    winner: Prompt
    """The best prompt."""
    winner_decoding: Decoding | None = None
    """How the winner decodes; None: as the task states."""
    winner_dev: Interval
    """Its score over all dev items (optimistic: it was chosen on them)."""
