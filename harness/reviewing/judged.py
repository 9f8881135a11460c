"""What an LLM judge said of pairs of answers: lines of the journal `preferences`, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.compare import Change, Judgement, Pairs, Scored, preferences
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


def as_pairs(judged: Sequence[Preferred], candidate: Scored, reference: Scored) -> Pairs:
    """Judged pairs as a comparison: net win rate, ties counted as half, each item once."""
    clusters = {(sample.task, sample.id): sample.cluster for sample in candidate[1]}
    found = [
        Judgement(
            id=f"{one.task}/{one.id}", repeat=one.repeat, outcome=one.outcome, cluster=clusters.get((one.task, one.id))
        )
        for one in judged
    ]
    return preferences(found, suite=candidate[0].suite, candidate=candidate[0].id, reference=reference[0].id)
