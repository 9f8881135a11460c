"""What was proven of a trained adapter before and beside its scores: parity with its training, and what it forgot."""

from __future__ import annotations

from pydantic import Field

from harness.records.answered import Interval
from harness.records.base import SCHEMA_VERSION, Record, SchemaVersion


class AdapterParity(Record):
    """One adapter in the engine against the process that trained it."""

    candidate: str
    """Name under which it is served."""
    adapter: str
    """Its digest."""
    prompts: int = 0
    """Probe prompts that were compared."""
    tokens: int = 0
    """Tokens of their continuations, for base model and adapter each."""
    base: float | None = None
    """Largest difference for the base model, in nats per token of a continuation; None where nothing was compared."""
    tuned: float | None = None
    """Likewise with the adapter."""
    worst: str = ""
    """The probe with the largest difference of both."""
    tolerance: float | None = None
    """What it may be at most; None where equal numbers cannot be asked for, and then it only informs."""
    reason: str = ""
    """Why nothing was compared, or why there is no tolerance; empty otherwise."""


class ParityRecord(Record):
    """Whether what is judged is what was trained: fixed texts scored by the training process and by the engine.

    Written before any look at the test split; a difference above its tolerance stops the experiment.
    """

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    engine: str
    """Engine, version, number type and device that were held against training."""
    adapters: tuple[AdapterParity, ...]
    """One a trained adapter."""


class PassageLikelihood(Record):
    """One general text under the base model and under the tuned one."""

    id: str
    """Which text."""
    kind: str
    """What sort of text: prose, code, a language."""
    size: int
    """UTF-8 bytes of a passage; generated tokens of the base model's answer to a prompt."""
    base: float | None
    """Log-likelihood under the base model, in nats; None when the call failed."""
    tuned: float | None
    """Log-likelihood under the tuned one, in nats; None when the call failed."""


class Forgotten(Record):
    """What one adapter changed of general text and of general answers. Suites say what it can do; this, what moved."""

    candidate: str
    """Name under which it is served."""
    adapter: str
    """Its digest."""
    text: Interval
    """Nats per byte of held-out general text, tuned minus base: above 0 the tuned model finds it less likely."""
    base_text: float | None
    """Nats per byte under the base model."""
    kinds: dict[str, float] = Field(default_factory=dict)
    """`text` by kind of text, without intervals: they are few each."""
    kl: Interval
    """KL divergence KL(base || tuned) on general prompts, in nats per token of the base model's own sampled answers."""
    passages: tuple[PassageLikelihood, ...] = ()
    """Every passage."""
    answers: tuple[PassageLikelihood, ...] = ()
    """Every sampled answer."""


class ForgettingRecord(Record):
    """Forgetting as numbers of their own, beside the suites' scores."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    texts: str
    """Digest of passages, prompts and how answers are sampled: numbers of other texts are not compared."""
    adapters: tuple[Forgotten, ...]
    """One an adapter that was judged."""
