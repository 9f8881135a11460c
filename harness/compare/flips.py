"""Samples that went from right to wrong or back, for reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.compare.samples import Samples, key, score
from harness.records import Record


class Flip(Record):
    """One sample that went from wrong to right or back, with both answers."""

    task: str
    """Task name."""
    id: str
    """Item id."""
    repeat: int
    """Which repetition of the item (0-based)."""
    direction: Literal["won", "lost"]
    """`won`: wrong with the reference, right with the candidate; `lost`: the other way."""
    question: str
    """The item's own text."""
    target: str
    """The gold answer."""
    candidate_answer: str | None
    """What the candidate said."""
    reference_answer: str | None
    """What the reference said."""
    candidate_score: float
    """Its score."""
    reference_score: float
    """Its score."""


def flips(candidate_samples: Samples, reference_samples: Samples, metric_by_task: Mapping[str, str]) -> list[Flip]:
    """Samples that changed between right and wrong: the lost ones first, then by task, id and repeat.

    metric_by_task: task name to metric, e.g. `RunRecord.primary`; other tasks are left out.
    Right is a score of at least 0.5 on the scale [0, 1]; samples that either side lacks, has
    not scored, or has scored outside that scale cannot flip.
    """
    other = {key(s): s for s in reference_samples}
    found = []
    for new in candidate_samples:
        old = other.get(key(new))
        if old is None or new.task not in metric_by_task:
            continue
        x, y = score(new, metric_by_task[new.task]), score(old, metric_by_task[new.task])
        if x is None or y is None or not (0 <= x <= 1 and 0 <= y <= 1) or (x >= 0.5) == (y >= 0.5):
            continue
        found.append(
            Flip(
                task=new.task,
                id=new.id,
                repeat=new.repeat,
                direction="won" if x > y else "lost",
                question=new.question,
                target=new.target,
                candidate_answer=new.answer,
                reference_answer=old.answer,
                candidate_score=x,
                reference_score=y,
            )
        )
    return sorted(found, key=lambda f: (f.direction, f.task, f.id, f.repeat))
