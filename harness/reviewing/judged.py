"""What an LLM judge said of pairs of answers: a line of the candidate's journal `preferences`."""

from __future__ import annotations

from typing import Final

from harness.compare import Change
from harness.records import Record

JOURNAL: Final = "preferences"
"""Name of the journal in the candidate's experiment that keeps every verdict."""


class Preferred(Record):
    """One pair of answers as the judge saw it."""

    key: str
    """sha256 over judge, rubric, question and both answers: the same pair is not judged twice."""
    judge: str
    """Model and server."""
    candidate: str
    """Run id."""
    reference: str
    """Run id."""
    task: str
    """Task name."""
    id: str
    """Item id."""
    repeat: int
    """Which repetition of the item (0-based)."""
    outcome: Change
    """Seen from the candidate; `tied` also when the two orders disagree, `unscored` without two verdicts."""
    reason: str | None = None
    """Why it is unscored."""
    calls: int
    """Calls of the judge: two, or none for equal answers and for missing ones."""
