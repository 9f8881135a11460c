"""What is deployed: one line of the registry for every move of an alias."""

from __future__ import annotations

from typing import Literal

from harness.records.asked import Candidate
from harness.records.base import SCHEMA_VERSION, Decision, Record, SchemaVersion


class ReleaseRecord(Record):
    """One move of an alias such as `production`: what it points to from then on. The last line of an alias counts."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's layout."""
    alias: str
    """`production`, `staging`, or any name of a team's own."""
    number: int
    """1 for the alias's first move; a move is refused when another one took its number."""
    action: Literal["promote", "rollback"]
    """What was asked for."""
    back_to: int | None = None
    """Number of the move that a rollback went back to; None for a promotion."""
    experiment: str
    """Experiment (or deploy gate) whose candidate it is: the evidence."""
    candidate: Candidate
    """What answers from now on, whole: model, adapter, prompt and decoding by content."""
    decision: Decision | None
    """What was decided of it; None where it was overridden before there was a verdict."""
    verdict_digest: str | None
    """sha256 over the verdict's file, so that another verdict is seen; None without one."""
    override: str | None = None
    """Why it was moved although it was not judged `promote`; None where it was."""
    by: str
    """Who moved it."""
    why: str = ""
    """Why, in the words of whoever moved it."""
    created: str
    """When, ISO 8601 in UTC."""
