"""What the parts of a comparison share: names for runs with their samples, and how a sample is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import RunRecord, SampleRecord

Samples = Sequence[SampleRecord]
Scored = tuple[RunRecord, Samples]
ItemKey = tuple[str, str]
SampleKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A run with its samples, looked up by which sample they are."""

    run: RunRecord
    given: int
    """Samples that were handed over; more than `by_key` holds when one came twice."""
    by_key: dict[SampleKey, SampleRecord]

    @property
    def items(self) -> int:
        """How many different items it holds."""
        return len({at[:2] for at in self.by_key})


def sheet(scored: Scored) -> Sheet:
    """Index a run's samples."""
    run, samples = scored
    return Sheet(run, len(samples), {key(sample): sample for sample in samples})


def key(sample: SampleRecord) -> SampleKey:
    """Which sample it is."""
    return sample.task, sample.id, sample.repeat
