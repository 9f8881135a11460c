"""What was exported for deployment, and how it was judged again in the form and by the engine that will run it."""

from __future__ import annotations

from typing import Literal

from harness.records.answered import Conditions, Interval
from harness.records.asked import Candidate
from harness.records.base import SCHEMA_VERSION, Decision, Outcome, Record, SchemaVersion

ExportFormat = Literal["merged", "gguf", "ollama", "vllm", "docker"]


class ChangedAnswer(Record):
    """A sample that the exported model answers otherwise than the judged candidate did."""

    id: str
    """Item id."""
    target: str
    """The gold answer."""
    judged: str | None
    """What the judged candidate said."""
    exported: str | None
    """What the exported model says; None when the call failed."""
    judged_score: float | None
    """Score then."""
    exported_score: float | None
    """Score now; None when it has none."""


class RejudgedRecord(Record):
    """The smoke gate of an export: the same questions again, through the engine that will run it."""

    conditions: Conditions
    """Under what the exported model answered."""
    metric: str
    """The task's first metric."""
    seed: int
    """Seed of the random choice of test items."""
    n: int
    """Items that were asked."""
    failed: int
    """Calls that failed; more than a few of them and nothing is decided."""
    judged: Interval
    """Score of the judged candidate on these items."""
    exported: Interval
    """Score of the exported model on them."""
    difference: Interval
    """How much better the exported model does, paired; at the confidence of the gate."""
    min_delta: float
    """The score's margin: pass above it, fail below it, else inconclusive."""
    agreement: Interval
    """Share of answers that are the same text."""
    min_agreement: float | None
    """The agreement's limit, by the same rule; None for sampled answers, which differ anyway."""
    same_template: bool | None = None
    """Whether the chat template is the judged one, text for text; None where one of the engines does not tell it."""
    other_prompts: int | None = None
    """Items whose prompt has another number of tokens than when it was judged: another template, or other tokens for
    the same text. None where that is not told."""
    outcome: Outcome
    """The worst of the rules; another template or another prompt fails."""
    reason: str
    """In one sentence."""
    changed: tuple[ChangedAnswer, ...] = ()
    """Samples that were answered otherwise, lost ones first; at most 20."""


class ExportRecord(Record):
    """One export of a candidate: `exports/<format>[-<quantization>]-<number>.json`."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's layout."""
    experiment: str
    """Experiment whose candidate it is."""
    format: ExportFormat
    """In what form."""
    quantization: str | None = None
    """Number type of a GGUF file: `f16` or `q8_0`; None for other forms."""
    alias: str | None = None
    """Alias by which it was asked for, if any."""
    candidate: Candidate
    """What was exported, whole."""
    decision: Decision | None
    """What had been decided of it; None without a verdict."""
    tool: str
    """What wrote it, with its version."""
    files: tuple[str, ...]
    """Its files, relative to its folder."""
    digest: str
    """sha256 over the names and contents of these files."""
    size: int
    """Bytes of all of them."""
    merge_drift: float | None = None
    """Largest move of a token's log-probability by merging, over the fixed probes, in nats; None where nothing was
    merged here."""
    probe_drift: float | None = None
    """Largest difference to the training process on the fixed probes, in nats per token; None where it left no numbers,
    or the engine tells no log-likelihoods."""
    rejudged: RejudgedRecord | None
    """How it was judged again; None when nobody asked for that."""
    notes: tuple[str, ...] = ()
    """What a user has to know, e.g. parts of the prompt that this form cannot carry."""
    created: str
    """When, ISO 8601 in UTC."""

    @property
    def unfit(self) -> bool:
        """Whether it must not be deployed."""
        return self.rejudged is not None and self.rejudged.outcome == "fail"
