"""Samples on which the candidate did better or worse than the reference, for reading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from harness.compare.samples import Samples, key
from harness.records import Record

Change = Literal["won", "lost", "tied", "unscored"]


class Flip(Record):
    """One sample that changed, with both answers."""

    task: str
    """Task name."""
    id: str
    """Item id."""
    repeat: int
    """Which repetition of the item (0-based)."""
    direction: Literal["won", "lost"]
    """`won`: the candidate's score is higher; `lost`: the reference's is."""
    question: str
    """The item's own text."""
    target: str
    """The gold answer."""
    candidate_answer: str | None
    """What the candidate said."""
    reference_answer: str | None
    """What the reference said."""
    candidate_reasoning: str | None = None
    """What the candidate wrote before its answer, where its prompt asks it to reason first."""
    reference_reasoning: str | None = None
    """What the reference wrote, likewise."""
    candidate_score: float
    """Its score."""
    reference_score: float
    """Its score."""


def change(candidate: float | None, reference: float | None) -> Change:
    """What became of one score: `won` when the candidate's is higher, `lost` when it is lower.

    For 0/1 scores that is right and wrong changing places. For others it is any difference, as `won` and
    `lost` of a ComparisonRecord count it: a threshold would hide what moved the mean. `unscored` when
    either side has no finite score.
    """
    if candidate is None or reference is None or not (math.isfinite(candidate) and math.isfinite(reference)):
        return "unscored"
    return "tied" if candidate == reference else "won" if candidate > reference else "lost"


def flips(candidate_samples: Samples, reference_samples: Samples, metric_by_task: Mapping[str, str]) -> list[Flip]:
    """Samples that were won or lost (see `change`): the lost ones first, then the largest difference first.

    metric_by_task: task name to metric, e.g. `RunRecord.primary`; other tasks are left out, and so are
    samples that either side lacks.
    """
    other = {key(sample): sample for sample in reference_samples}
    found = []
    for new in candidate_samples:
        old = other.get(key(new))
        if old is None or new.task not in metric_by_task:
            continue
        ours, theirs = (sample.scores.get(metric_by_task[new.task]) for sample in (new, old))
        direction = change(ours, theirs)
        if ours is None or theirs is None or direction == "tied" or direction == "unscored":
            continue
        found.append(
            Flip(
                task=new.task,
                id=new.id,
                repeat=new.repeat,
                direction=direction,
                question=new.question,
                target=new.target,
                candidate_answer=new.answer,
                reference_answer=old.answer,
                candidate_reasoning=new.reasoning,
                reference_reasoning=old.reasoning,
                candidate_score=ours,
                reference_score=theirs,
            )
        )
    return sorted(
        found, key=lambda f: (f.direction, -abs(f.candidate_score - f.reference_score), f.task, f.id, f.repeat)
    )
