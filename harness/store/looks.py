"""The ledger of looks: who was judged on which test split, over all experiments of a store.

A test split wears out: judge enough candidates on it and one that is no better will pass by luck. So each
distinct candidate that is judged on a split is a line of `looks.jsonl`, written before it answers anything,
with the part of alpha that it may spend. A split is known by the questions in it. Neither the experiment's
name, nor the order of its rows, nor an id, nor a corrected gold answer makes it another split; nor does a
row more or less: splits that share at least half of their questions are one (`SAME`).
"""

from __future__ import annotations

import datetime
import fcntl
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import Problem, StoreError
from harness.records import LookRecord, Spending, digest
from harness.store.files import Journal, read_lines

SKETCH = 256
"""Least digests kept of a split: its overlap with another is exact up to this size, then within some three points."""
SAME = 0.5
"""Share of questions in common (of those in either) from which two splits are one."""


class Looks:
    """The ledger of one store."""

    def __init__(self, root: Path) -> None:
        self.path = root / "looks.jsonl"

    def all(self) -> list[LookRecord]:
        """Every look, in the order in which they were made."""
        return read_lines(self.path, LookRecord)

    def at(self, questions: Sequence[str]) -> list[LookRecord]:
        """Looks at this split, or at one that is the same but for some rows. questions: a digest each."""
        drawn = sketch(questions)
        return [look for look in self.all() if overlap(drawn, look.sketch) >= SAME]

    def take(
        self,
        suite: str,
        questions: Sequence[str],
        candidate_digest: str,
        *,
        candidate: str,
        experiment: str,
        alpha: float,
        budget: int,
        spending: Spending,
        level: Callable[[float, int], float],
    ) -> LookRecord:
        """The look of this candidate at this split: the one it had before, else a new line.

        level: what a look may spend, from what earlier ones spent and its own number.
        Raises StoreError when the ledger cannot be read or written: a look that is not counted is not taken.
        """
        with self._lock():
            earlier = self.at(questions)
            again = next((look for look in earlier if look.candidate_digest == candidate_digest), None)
            if again is not None:
                return again
            number = len(earlier) + 1
            look = LookRecord(
                suite=suite,
                fingerprint=fingerprint(questions),
                sketch=sketch(questions),
                candidate_digest=candidate_digest,
                experiment=experiment,
                candidate=candidate,
                number=number,
                budget=budget,
                spending=spending,
                alpha=alpha,
                level=level(sum(look.level for look in earlier), number),
                created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            )
            with Journal(self.path) as journal:
                journal.append([look])
            return look

    def _lock(self) -> _Lock:
        return _Lock(self.path.with_name(".looks.lock"))


class _Lock:
    """Waits for its turn: a look takes milliseconds."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("w")
        except OSError as fault:
            hint = "Make the folder writable, or name another with --reports."
            raise StoreError(Problem(str(self._path.parent), f"cannot write: {fault.strerror}", next=hint)) from fault
        fcntl.flock(self._stream, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def fingerprint(questions: Sequence[str]) -> str:
    """Content identity of a split's questions, independent of their order."""
    return digest(sorted(set(questions)))


def sketch(questions: Sequence[str]) -> tuple[str, ...]:
    """The `SKETCH` least digests, 16 hex digits each: a bottom-k sketch (Broder 1997, Resemblance of documents)."""
    return tuple(sorted({question[:16] for question in questions})[:SKETCH])


def overlap(a: Sequence[str], b: Sequence[str]) -> float:
    """Estimated share of questions that two splits have in common, of all in either (Jaccard)."""
    least = sorted({*a, *b})[:SKETCH]
    both = {*a} & {*b}
    return sum(question in both for question in least) / len(least) if least else 0.0
