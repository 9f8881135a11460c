"""Judging: comparisons, gates, looks, verdicts, and where it all was made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.records.answered import Interval
from harness.records.asked import ModelRef
from harness.records.base import SCHEMA_VERSION, Claim, Decision, Outcome, Record, Rule, SchemaVersion, Spending
from harness.records.proven import ParityRecord


class ComparisonRecord(Record):
    """Two runs joined sample by sample. Differences say how much better the candidate is."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    suite: str
    """Suite name."""
    task: str
    """Task name, or `*` for all items of the suite."""
    slice: str | None = None
    """`name=value`: only items with this property; None for all."""
    metric: str
    """Metric; `primary` takes each task's own first metric."""
    higher_is_better: bool = True
    """False for latency, tokens, cost, perplexity: there, less is better."""
    claim: Claim = "artifact"
    """`recipe`: training seeds are a random factor of the interval."""
    seeds: int = 1
    """Trainings that entered on the candidate's side."""
    repeats: int = 1
    """Answers per item that were averaged first; the most on either side."""
    candidate: str
    """Candidate run id (several, joined by `+`, when seeds are averaged)."""
    reference: str
    """Reference run id."""
    candidate_mean: float | None
    """The metric over the joined items: their mean, or the metric of the whole for one that is no mean."""
    reference_mean: float | None
    """As candidate_mean."""
    factor: float = 1.0
    """What the reference is multiplied with first; not 1 for a relative margin."""
    difference: Interval
    """Candidate minus factor times reference; for a metric where less is better, the other way round."""
    won: int
    """Items on which the candidate did better."""
    lost: int
    """Items on which the reference did better."""
    tied: int
    """Items with equal scores."""
    unscored: int
    """Items left out because one side has no score."""


class SliceOutcome(Record):
    """One slice of a gate on the worst slice."""

    slice: str
    """`name=value`."""
    outcome: Outcome
    """As for a gate."""
    n: int
    """Items that entered."""
    value: float | None
    """Estimated difference."""
    low: float | None
    """Lower end at the gate's pass level."""
    high: float | None
    """Upper end at the gate's fail level."""


class GateRecord(Record):
    """One gate as it was judged."""

    candidate: str = ""
    """Name of the candidate that it judged; empty in records of version 1."""
    rule: Rule = "min_delta"
    """`min_delta` compares with a reference; the others look at the candidate alone."""
    suite: str
    """Suite name, `task` for the experiment's own; the file for must-not-break items."""
    task: str
    """Task inside the suite, `*` for all."""
    slice: str | None = None
    """`name=value`, or `worst of name`; None for all items."""
    metric: str
    """Metric."""
    against: str | None
    """`base`, `best_prompt`, ...; None for a rule without a reference."""
    min_delta: float | None
    """The signed margin; None for another rule."""
    relative: bool = False
    """The margin is a share of the reference's score."""
    limit: float | None = None
    """What `at_least` or `at_most` demands, in the metric's unit."""
    blocking: bool
    """Blocking gates decide; advisory ones only inform."""
    outcome: Outcome
    """pass if low lies above the margin, fail if high lies below it, otherwise inconclusive."""
    reason: str
    """One sentence with the numbers."""
    low: float | None = None
    """Lower end that decided: one-sided, erring with `pass_level` (for `at_most` with `fail_level`)."""
    high: float | None = None
    """Upper end that decided: one-sided, erring with `fail_level` (for `at_most` with `pass_level`)."""
    pass_level: float | None = None
    """Chance of a wrong pass at the margin: what this look at the test split may spend."""
    fail_level: float | None = None
    """Chance of a wrong fail at the margin: the gate's share of the family's."""
    comparison: ComparisonRecord | None
    """The evidence; None when there was none, or no reference is asked for."""
    estimate: Interval | None = None
    """The candidate's own value, for a rule without a reference."""
    slices: tuple[SliceOutcome, ...] = ()
    """Every slice, for a gate on the worst of them."""
    broken: tuple[str, ...] = ()
    """Ids of must-not-break items that are wrong."""


class LookRecord(Record):
    """One test of one candidate on one test split: a line of the store's ledger, `looks.jsonl`."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    suite: str
    """`task` for a promotion on an experiment's own task, `enough` for stopping before training on it."""
    fingerprint: str
    """Content identity of the questions, independent of order, ids and gold answers."""
    sketch: tuple[str, ...]
    """Least digests of the questions: tells a split that shares most of its rows with another."""
    candidate_digest: str
    """Content identity of who was judged."""
    test_digest: str
    """Content identity of how: rules, references, every item asked, engine. Another test is another look."""
    experiment: str
    """Id of the experiment that looked first."""
    candidate: str
    """Its name there."""
    number: int
    """Which look at this split it is, from 1."""
    budget: int
    """Looks that the policy declared when it was made."""
    spending: Spending
    """How the policy spends alpha over looks."""
    alpha: float
    """What the policy allows over all looks."""
    level: Annotated[float, Field(ge=0, le=0.5)]
    """What this look may spend: the chance of a wrong pass; 0 when nothing is left."""
    created: str
    """UTC time, ISO 8601."""


class Family(Record):
    """The gates that share one chance of a wrong FAIL."""

    correction: str
    """`holm`."""
    alpha: float
    """Chance of any wrong FAIL in the family."""
    members: tuple[str, ...]
    """Names of the gates."""


class Finalist(Record):
    """One candidate that was judged on the test split."""

    name: str
    """Candidate name."""
    decision: Decision
    """What its own gates say."""
    reason: str
    """Why."""
    look: LookRecord
    """Which look at the test split it was."""


class JudgedRun(Record):
    """A run that a verdict rests on, pinned by content."""

    run: str
    """Run id."""
    candidate_digest: str
    """Content identity of who answered."""
    samples_digest: str
    """Content identity of what was answered."""


class VerdictRecord(Record):
    """The decision, every gate with its numbers, and the runs that were judged."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    experiment: str
    """Experiment id."""
    hypothesis: str
    """The claim as the user wrote it."""
    decision: Decision
    """promote, reject, inconclusive, prompt_suffices."""
    exit_code: int
    """Exit code of `harness run`."""
    reason: str
    """The decision in one or two sentences."""
    claim: Claim = "artifact"
    """`artifact`: these very weights, conditional on their training. `recipe`: training this way, over seeds."""
    candidate: str
    """Name of the candidate that was judged."""
    gates: tuple[GateRecord, ...]
    """Every gate, of every finalist."""
    finalists: tuple[Finalist, ...] = ()
    """Every candidate that was judged, best on dev first."""
    family: Family | None = None
    """What the gates' FAILs were corrected over; None where no gate was judged."""
    runs: tuple[JudgedRun, ...]
    """Every run that a gate looked at."""
    parity: ParityRecord | None = None
    """How near the engine's numbers are to those of training; None where nothing was trained, or in older records."""
    warnings: tuple[str, ...] = ()
    """What a reader should know before acting on it."""
    created: str
    """UTC time, ISO 8601."""


class Provenance(Record):
    """Where and with what an experiment was made."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    experiment: str
    """Experiment id."""
    harness_version: str
    """Version of this program."""
    commit: str | None
    """Git commit of the folder that the spec lies in, `+dirty` if it had changes."""
    python: str
    """Python version."""
    platform: str
    """Operating system and processor kind."""
    cpus: int
    """Cores in use."""
    gpus: tuple[str, ...]
    """Names of the GPUs found."""
    packages: dict[str, str]
    """Versions of the packages that can move a number."""
    model: ModelRef
    """The base model as it was resolved."""
    engine: str
    """Engine in use, and why it was chosen."""
    seeds: dict[str, int | tuple[int, ...]]
    """Every seed."""
    created: str
    """UTC time, ISO 8601."""
