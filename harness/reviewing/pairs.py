"""The pairs of answers that people vote on: those that differ, in one shuffled order, with their authors hidden."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from harness.errors import Problem, UsageError
from harness.records import digest
from harness.store import ExperimentStore

COLUMNS: Final = ("task", "id", "repeat", "question", "target", "answer", "cluster")
Side = Literal["candidate", "reference"]


@dataclass(frozen=True, slots=True)
class Blind:
    """One question with two answers."""

    task: str
    id: str
    repeat: int
    question: str
    target: str
    candidate: str
    """The candidate's answer."""
    reference: str
    """The reference's answer."""
    cluster: str | None
    answers: str
    """sha256 over question and both answers."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What it is found by."""
        return self.task, self.id, self.repeat


def blind_pairs(folder: ExperimentStore, candidate: str, reference: str) -> list[Blind]:
    """The pairs of two runs (their ids) that are worth a vote, in the order in which everybody is asked.

    Left out are questions that one side has no answer to, and pairs that differ in nothing but white space: nobody
    could tell them apart. The order is shuffled by a digest of the pair, so it is the same for every reviewer (what
    two of them did overlaps), tells nothing, and does not change when votes come in.
    Raises UsageError where the runs share no question.
    """
    ours, theirs = (folder.sample_columns(run, COLUMNS).to_pylist() for run in (candidate, reference))
    other = {(row["task"], row["id"], row["repeat"]): row for row in theirs}
    both = [(row, other[at]) for row in ours if (at := (row["task"], row["id"], row["repeat"])) in other]
    if not both:
        raise UsageError(Problem(candidate, f"shares no question with {reference}", next="Choose two runs of a suite"))
    made = [
        Blind(
            a["task"], a["id"], a["repeat"], a["question"], a["target"], a["answer"], b["answer"], a["cluster"],
            digest([a["question"], a["answer"], b["answer"]]),
        )
        for a, b in both
        if a["answer"] is not None and b["answer"] is not None and a["answer"].strip() != b["answer"].strip()
    ]  # fmt: skip
    return sorted(made, key=lambda pair: _shuffled(candidate, reference, *map(str, pair.key)))


def shown_first(pair: Blind, candidate: str, reference: str, reviewer: str) -> Side:
    """Whose answer this reviewer sees as A: a fair coin by digest, so that it is the same when he comes back."""
    return "candidate" if _shuffled(candidate, reference, *map(str, pair.key), reviewer)[0] % 2 else "reference"


def _shuffled(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).digest()
