"""What the parts of a comparison share: names for runs with their samples, and how a sample is read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.records import RunRecord, SampleRecord

Samples = Sequence[SampleRecord]
Scored = tuple[RunRecord, Samples]
ItemKey = tuple[str, str]
SampleKey = tuple[str, str, int]


def score(sample: SampleRecord, metric: str) -> float | None:
    """The score, or None when there is none or it is not finite."""
    score = sample.scores.get(metric)
    return score if score is not None and math.isfinite(score) else None


def key(sample: SampleRecord) -> SampleKey:
    """Which sample it is."""
    return sample.task, sample.id, sample.repeat
