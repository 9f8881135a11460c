"""What was seen in production: one look at a deployment's logs, its tests, and the bets against "nothing changed"."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.records.answered import Interval
from harness.records.base import SCHEMA_VERSION, Record, SchemaVersion

Watched = Literal["drift", "quality"]
Due = Literal["drift", "quality", "age"]


class DriftTest(Record):
    """One feature of this look's requests against the reference: a test of this look alone, not of all looks."""

    feature: str
    """Feature, e.g. `question_length`, `topic`."""
    test: str
    """`kolmogorov-smirnov`, or `permutation-chi2` for categories."""
    statistic: float
    """The test's statistic: largest distance of the two distribution functions, or chi-square."""
    p: float
    """Chance of one as large if both came from one distribution."""
    p_corrected: float
    """The same, corrected by Holm over all features of this look."""
    n: int
    """Requests of this look that have the feature."""
    n_reference: int
    """Values in the reference."""
    median: float | None
    """Median of this look; None for categories."""
    median_reference: float | None
    """Median of the reference; None for categories."""
    moved: tuple[str, ...] = ()
    """Categories whose share moved most, with both shares."""


class StreamState(Record):
    """Where the bets on one feature stand: all that the next look needs of earlier ones."""

    feature: str
    """Feature, e.g. `question_length`."""
    watched: Watched
    """Which alarm it belongs to."""
    counts: tuple[int, ...]
    """Values so far by bin, those of the reference included."""
    n_reference: int
    """Values of the reference; 0: it is compared with its own past."""
    seen: int
    """Requests that were bet on."""
    capital: tuple[float, ...]
    """Natural logarithm of each bettor's capital; together they began with 1."""
    histogram: tuple[float, ...]
    """Discounted counts of past p-values by eighths, for the bettor that learns; it knows nothing at first."""
    log_e: float
    """Natural logarithm of the capital now."""
    log_e_most: float
    """The most that it ever was."""


class CanaryLine(Record):
    """One measure of two versions that answered at the same time."""

    measure: str
    """`quality`, `valid`, `error`, `latency_s`, `answer_length`."""
    higher_is_better: bool | None
    """Which way is better; None where neither is."""
    candidate: Interval
    """The new version."""
    reference: Interval
    """The other one."""
    difference: Interval
    """Candidate minus reference; paired where both answered the same questions."""
    p: float | None
    """Two-sided p-value of a difference (permutation of the means); None where there is too little."""
    p_corrected: float | None
    """The same, corrected by Holm over all measures."""


class CanaryRecord(Record):
    """Two versions in one log, compared."""

    candidate: str
    """The new version."""
    reference: str
    """The other one."""
    n_candidate: int
    """Its requests."""
    n_reference: int
    """Requests of the other."""
    paired: int
    """Questions that both answered; 0: the two are compared as independent samples."""
    lines: tuple[CanaryLine, ...]
    """Every measure that both have."""


class LogCount(Record):
    """What became of the lines of the logs."""

    lines: int
    """Lines that are not blank."""
    requests: int
    """Requests read."""
    new: int
    """Those that no earlier look counted."""
    before: int
    """Left out: no later than the last look's end, or seen then."""
    broken: int
    """Lines that are no request, the first of them named in `faults`."""
    other: int
    """Lines of a text log that speak of something else."""


class MonitorRecord(Record):
    """One look at the logs of a deployment: a line of `monitoring.jsonl`, appended, never changed."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    deployment: str
    """Whose logs they are."""
    against: str | None
    """Experiment whose data and judged run are the reference; None: its own past alone."""
    reference: str
    """sha256 over what the reference values are made of: with another one the bets begin anew only on demand."""
    number: int
    """Which look at this deployment it is, from 1."""
    epoch: int
    """How often what production looks like was accepted as normal; bets begin anew then."""
    accepted: str | None = None
    """Why this look's requests are the new normal, where somebody said so."""
    logs: tuple[str, ...]
    """Names of the logs that were read."""
    count: LogCount
    """What became of their lines."""
    faults: tuple[str, ...]
    """The first broken lines, as `file:line: what is wrong`."""
    since: str | None
    """Time of the first new request, UTC, ISO 8601; None where the logs have no times."""
    until: str | None
    """Time of the last request that was counted so far."""
    edge: tuple[str, ...]
    """Digests of the requests at `until`; of all of them where the logs have no times."""
    per_day: dict[str, int]
    """New requests by day (UTC)."""
    versions: dict[str, int]
    """New requests by version, as the logs name it."""
    latency: dict[str, Interval]
    """`p50`, `p95`, `p99` of seconds an answer; empty where the logs do not tell."""
    errors: Interval
    """Share of new requests that failed."""
    valid: Interval
    """Share of answers in the form that the task asks for."""
    form: str
    """What that form is."""
    quality: Interval
    """Mean score of the answers that have one."""
    scored_by: str
    """`labels`, `scores`, `judge MODEL`, or empty: quality was not measured."""
    tests: tuple[DriftTest, ...]
    """Tests of this look alone."""
    streams: tuple[StreamState, ...]
    """Bets that hold over all looks."""
    evidence: dict[Watched, float] = Field(default_factory=dict)
    """The most that the mean capital of the alarm's features ever was; natural logarithm."""
    threshold: float
    """Natural logarithm of the capital from which an alarm is raised."""
    alpha: float
    """Chance that any alarm is ever raised without change, however often one looks."""
    alarms: tuple[Watched, ...]
    """Alarms raised by this look or an earlier one of the epoch."""
    causes: tuple[str, ...]
    """Features that carry the alarm, the strongest first."""
    due: tuple[Due, ...]
    """Why retraining is due by the policy; empty when it is not."""
    canary: CanaryRecord | None = None
    """Two versions compared, where that was asked."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    created: str
    """UTC time, ISO 8601."""
