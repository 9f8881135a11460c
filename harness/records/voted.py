"""What people said: blind votes on two answers to one question."""

from __future__ import annotations

from typing import Literal

from harness.records.base import SCHEMA_VERSION, Record, SchemaVersion

Choice = Literal["a", "b", "tie", "both_bad"]
Voted = Literal["won", "lost", "tied", "both_bad"]


class VoteRecord(Record):
    """One reviewer's verdict on two answers whose authors were hidden: a line of `votes.jsonl`, never changed.

    A reviewer who votes again on the same pair of answers changes his mind: the later line counts, both stay.
    """

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    candidate: str
    """Run id of the candidate."""
    reference: str
    """Run id of the reference."""
    task: str
    """Task name."""
    id: str
    """Item id."""
    repeat: int = 0
    """Which repetition of the item (0-based)."""
    answers: str
    """sha256 over question and both answers: a vote counts for these very texts alone."""
    reviewer: str
    """Who voted, by the name that was given."""
    first: Literal["candidate", "reference"]
    """Whose answer was shown as A."""
    choice: Choice
    """What was said: `a`, `b`, `tie` (both as good), `both_bad`."""
    note: str = ""
    """Why, in the reviewer's words."""
    seconds: float | None = None
    """From the pair being shown to the vote; None where it was not taken."""
    created: str
    """UTC time, ISO 8601."""

    @property
    def outcome(self) -> Voted:
        """The vote seen from the candidate."""
        if self.choice == "tie":
            return "tied"
        if self.choice == "both_bad":
            return "both_bad"
        return "won" if (self.choice == "a") is (self.first == "candidate") else "lost"
