"""A deploy gate: who was held against whom, and where the answers came from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.records.asked import Candidate
from harness.records.base import SCHEMA_VERSION, Record, SchemaVersion

SideKind = Literal["adapter", "model", "url", "experiment", "run", "alias", "base"]


class SideRecord(Record):
    """One side of a deploy gate."""

    given: str
    """As it was named: a folder, a URL, an experiment, an alias, a base model."""
    kind: SideKind
    """What that is."""
    experiment: str | None = None
    """Experiment whose candidate it is, where there is one."""
    move: int | None = None
    """Of an alias: number of the move that it stood at."""
    candidate: Candidate
    """What answers, whole."""


class GatedRecord(Record):
    """A deploy gate's two sides, and which of their runs were taken over from the store instead of asked."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    candidate: SideRecord
    """Who would be deployed."""
    reference: SideRecord
    """Whom it is held against."""
    by_default: tuple[str, ...] = ()
    """Suites that the policy has no gate on, so that the default rule holds there."""
    reused: dict[str, str] = Field(default_factory=dict)
    """Run to the run of the store whose answers it holds, as `EXPERIMENT:RUN`; the other runs were asked afresh."""
    as_deployed: bool = False
    """Whether the two sides may differ in engine, number type, device and chat template: deployments as they are."""


class ReusedRun(Record):
    """A run whose answers were taken over from the store: a line of the gate's journal `reused`."""

    run: str
    """Run id in the gate."""
    of: str
    """Whose answers it holds, as `EXPERIMENT:RUN`."""
