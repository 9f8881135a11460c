"""The ledger of looks: who was judged on which test split, over all experiments of a store.

A test split wears out: judge enough candidates on it and one that is no better will pass by luck. So each test of
a candidate on a split is a line of `looks.jsonl`, written before anything is asked, with the part of alpha that it
may spend. The same test again (a run that was killed, or only renamed) keeps its look; another candidate is another
look, and so is the same one by other rules, against other references, under another engine or on edited rows: each
is a new draw. A split is known by the questions in it. Neither the experiment's name, nor the order of its rows, nor
ids, gold answers, punctuation or letter case make it another split; nor do rows more or less: splits of which one
shares at least half of its questions with the other are one (`SAME`), over any number of steps.
"""

from __future__ import annotations

import datetime
import fcntl
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import Problem, StoreError
from harness.records import LookRecord, Spending, digest
from harness.store.files import Journal, read_lines

SKETCH = 1024
"""Least digests kept of a split: its overlap with another is exact up to this size, then within a few points."""
SAME = 0.5
"""Share of the smaller split's questions, found in the larger one, from which the two are one."""


class Looks:
    """The ledger of one store."""

    def __init__(self, root: Path) -> None:
        self.path = root / "looks.jsonl"

    def all(self) -> list[LookRecord]:
        """Every look, in the order in which they were made."""
        return read_lines(self.path, LookRecord)

    def at(self, questions: Sequence[str], suite: str = "task") -> list[LookRecord]:
        """Looks at this split, or at one that is the same over any number of steps. questions: a digest each.

        suite: the ledger's lines of one kind; those of another kind spend an alpha of their own.
        """
        left = [look for look in self.all() if look.suite == suite]
        same, edge = list[LookRecord](), [sketch(questions)]
        while edge:
            drawn = edge.pop()
            near = [look for look in left if overlap(drawn, look.sketch) >= SAME]
            left = [look for look in left if look not in near]
            same += near
            edge += {look.sketch for look in near}
        return sorted(same, key=lambda look: look.number)

    def take(
        self,
        suite: str,
        questions: Sequence[str],
        candidate_digest: str,
        test_digest: str,
        *,
        candidate: str,
        experiment: str,
        alpha: float,
        budget: int,
        spending: Spending,
        level: Callable[[float, int], float],
    ) -> LookRecord:
        """The look of this candidate by this test at this split: the one it had before, else a new line.

        level: what a look may spend, from what earlier ones spent and its own number. A look that was taken
        under a looser policy is given back with no more than the present one allows.
        Raises StoreError when the ledger cannot be read or written: a look that is not counted is not taken.
        """
        with self._lock():
            looks = self.at(questions, suite)
            same = (candidate_digest, test_digest)
            again = next((look for look in looks if (look.candidate_digest, look.test_digest) == same), None)
            before = looks if again is None else [look for look in looks if look.number < again.number]
            number = len(looks) + 1 if again is None else again.number
            allowed = level(sum(look.level for look in before), number)
            terms = {"alpha": alpha, "budget": budget, "spending": spending}
            if again is not None:
                return again.model_copy(update={**terms, "level": min(again.level, allowed)})
            look = LookRecord(
                suite=suite,
                fingerprint=fingerprint(questions),
                sketch=sketch(questions),
                candidate_digest=candidate_digest,
                test_digest=test_digest,
                experiment=experiment,
                candidate=candidate,
                number=number,
                level=allowed,
                created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                **terms,
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
    """Estimated share of the smaller split's questions that the other one holds.

    Below the lower of the two sketches' ends both are known whole, and digests are spread evenly.
    """
    end = min((max(part) for part in (a, b) if len(part) == SKETCH), default="g")  # above every hex digit
    known = [{digest for digest in part if digest <= end} for part in (a, b)]
    least = min(map(len, known))
    return len(known[0] & known[1]) / least if least else 0.0
