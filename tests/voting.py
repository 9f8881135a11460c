"""Votes of made-up reviewers on a sample experiment."""

from __future__ import annotations

from collections.abc import Callable

from harness.records import VoteRecord
from harness.records.voted import Choice
from harness.reviewing import Blind, blind_pairs, shown_first
from harness.store import ExperimentStore


def vote_on(
    folder: ExperimentStore, reviewer: str, choose: Callable[[Blind, str], Choice], count: int,
    candidate: str = "tuned-seed0--task--test", reference: str = "best_prompt--task--test",
) -> None:  # fmt: skip
    """One reviewer's votes on the first pairs. choose: from the pair and whose answer is A to what is said."""
    made = []
    for pair in blind_pairs(folder, candidate, reference)[:count]:
        first = shown_first(pair, candidate, reference, reviewer)
        made.append(
            VoteRecord(
                candidate=candidate,
                reference=reference,
                task=pair.task,
                id=pair.id,
                repeat=pair.repeat,
                answers=pair.answers,
                reviewer=reviewer,
                first=first,
                choice=choose(pair, first),
                created="2026-01-15T12:00:00Z",
            )
        )
    folder.vote(made)


def the_right_one(pair: Blind, first: str) -> Choice:
    """Prefers the gold answer, wherever it stands."""
    right = [pair.candidate == pair.target, pair.reference == pair.target]
    if right[0] is right[1]:
        return "both_bad" if not right[0] else "tie"
    return "a" if right[0] is (first == "candidate") else "b"


def always_a(pair: Blind, first: str) -> Choice:
    """Prefers whatever stands first."""
    return "a"
