"""What was answered: samples, and the run that sums them up."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.records.asked import Candidate
from harness.records.base import SCHEMA_VERSION, Grown, Record, Role, SchemaVersion, SplitName


class SampleRecord(Grown):
    """One item answered by one candidate. A failed call is a record too: scores are None."""

    later: ClassVar[frozenset[str]] = frozenset({"reasoning", "retrieved", "unscored"})

    task: str
    """Task name inside the suite."""
    id: str
    """Item id."""
    repeat: int = 0
    """Which repetition of the item (0-based)."""
    item_digest: str
    """Content identity of the item."""
    question: str
    """The item's own text (last user turn, or the plain text), for reading."""
    target: str
    """The gold answer."""
    answer: str | None
    """The model's answer; for choice items the chosen continuation. None when the call failed."""
    scores: dict[str, float | None]
    """Metric name to score. None means unscored, never wrong."""
    error: str | None = None
    """Why it is unscored: the call failed, and is made again when the run is resumed."""
    unscored: dict[str, str] = Field(default_factory=dict)
    """Metric name to why there is no score though there is an answer, e.g. a judge's verdict that cannot be read."""
    reasoning: str | None = None
    """What the model wrote before its answer, where the prompt asks it to reason first."""
    retrieved: tuple[str, ...] = ()
    """What was looked up for this item, best first: ids of train rows, or `FILE#N` for passages."""
    logprobs: tuple[float, ...] | None = None
    """Choice items: summed log-likelihood (nats) of each choice."""
    finish: str | None = None
    """`stop` when the model ended its turn, `length` when it was cut."""
    tokens_in: int | None = None
    """Prompt tokens, chat template included."""
    tokens_out: int | None = None
    """Generated tokens."""
    latency_s: float | None = None
    """Seconds for this answer; inside a batch, the batch's seconds."""
    cluster: str | None = None
    """See Item."""
    slices: dict[str, str] = Field(default_factory=dict)
    """See Item."""


class Interval(Record):
    """An estimate with its interval. No number without its n and its method."""

    value: float | None
    """Point estimate; None when nothing was scored."""
    low: float | None
    """Lower end."""
    high: float | None
    """Upper end."""
    confidence: float
    """Two-sided confidence, e.g. 0.95."""
    n: int
    """Items that entered."""
    method: str
    """How it was computed, e.g. `wilson`, `tango`, `bca`, `cluster-t`."""


class MetricSummary(Record):
    """One metric over one task of a run (or over all its tasks)."""

    task: str
    """Task name; `*` for the mean over all items of the suite."""
    metric: str
    """Metric name; `primary` for `*`, where tasks may have different first metrics."""
    estimate: Interval
    """Mean score."""
    unscored: int
    """Items without a score."""


class Conditions(Record):
    """Under what a run was made. Two runs compare only when these agree."""

    engine: str
    """`vllm`, `transformers`, ..."""
    engine_version: str
    """Version of the package that answered."""
    dtype: str
    """Weights' number type while serving."""
    device: str
    """`cpu`, `cuda`."""
    chat_template_digest: str | None
    """sha256 of the chat template in use."""
    flags: dict[str, str] = Field(default_factory=dict)
    """Other settings that can move a score."""


class ReferenceConditions(Conditions):
    """Under what the reference of a deploy gate answered, where that may be otherwise than the candidate."""


class EarlyStop(Record):
    """An evaluation that ended before every item was asked, because every gate on it was decided."""

    method: str
    """Anytime-valid method that allowed it, e.g. `betting`."""
    asked: int
    """Items that were asked."""
    of: int
    """Items of the suite."""
    seed: int
    """Seed of the random order in which items were asked."""


class RunRecord(Record):
    """One candidate evaluated on one suite split; the last file written of a run."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    id: str
    """Folder name under `runs/`: `<candidate>--<suite>--<split>`."""
    candidate: Candidate
    """Who answered."""
    candidate_digest: str
    """Content identity of the candidate."""
    suite: str
    """`task` for the experiment's own task, else the suite's name."""
    role: Role
    """What the suite is for."""
    split: SplitName
    """Which split of it."""
    fingerprint: str
    """Content identity of all items, independent of their order."""
    conditions: Conditions
    """Under what it was answered."""
    primary: dict[str, str]
    """Task name to the metric that gates use when none is named."""
    metrics: tuple[MetricSummary, ...]
    """Per task and metric, then `*`."""
    n: int
    """Items asked."""
    unscored: int
    """Items without a primary score."""
    tokens_in: int | None
    """Prompt tokens over all items; of repeats, their mean."""
    tokens_out: int | None
    """Generated tokens over all items; of repeats, their mean."""
    seconds: float
    """Wall time of the sitting that finished it."""
    latency_p50_s: float | None
    """Median seconds per answer."""
    latency_p95_s: float | None
    """95th percentile of seconds per answer."""
    samples_digest: str
    """sha256 of the sample records, sorted by task and id: pins what a verdict judged."""
    machine_s: float | None = None
    """Seconds of the machine that its answers took: by their latencies, its share of the time in which they and those
    of other runs were in flight. None where some came from an earlier sitting or the cache, where a judge was waited
    for, and in older records."""
    tokens_in_se: float | None = None
    """Standard error of the mean prompt tokens an answer; None for fewer than two, and in older records."""
    tokens_out_se: float | None = None
    """Standard error of the mean generated tokens an answer, likewise."""
    stopped: EarlyStop | None = None
    """How it ended early; None when every item was asked."""
    created: str
    """UTC time, ISO 8601."""

    def metric(self, task: str, metric: str) -> MetricSummary | None:
        """The summary of one metric of one task, or None."""
        return next((m for m in self.metrics if m.task == task and m.metric == metric), None)
