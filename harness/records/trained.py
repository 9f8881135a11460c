"""What training learned from, and what came out of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from harness.records.asked import AdapterRef, Prompt
from harness.records.base import SCHEMA_VERSION, Record, SchemaVersion


class LengthBin(Record):
    """Rows of about one length."""

    shortest: int
    """Fewest tokens that count here."""
    longest: int
    """Most tokens that count here."""
    rows: int
    """How many rows."""


class Supervision(Record):
    """What the trainer really learns from, read off the tensors it is handed."""

    rows: int
    """Rows in the training set."""
    tokens: int
    """Tokens over all rows, without padding."""
    supervised_tokens: int
    """Tokens with loss."""
    rows_without_loss: int
    """Rows with no token to learn from; must be 0."""
    rows_truncated: int
    """Rows longer than max_length; must be 0."""
    rows_with_end_of_turn: int
    """Rows whose end-of-turn token carries loss; must equal rows."""
    prompt_matches_serving: int | None = None
    """Rows whose tokens without loss are exactly the prompt that engines send; must equal rows."""
    longest: int
    """Tokens of the longest row."""
    lengths: tuple[LengthBin, ...] = ()
    """How many rows are how long: at most 20 bins of one width, from the shortest row to the longest; empty in records
    made before it was counted."""
    example: str
    """First row decoded, the learned span between [[ and ]]."""
    more_examples: tuple[str, ...] = ()
    """The next rows, likewise."""
    chat_template: str | None = None
    """sha256 of the chat template that the rows were rendered with; it must be the one that engines serve with."""
    padding_keeps_learned: bool | None = None
    """Whether a short row padded beside the longest teaches the same tokens, end of turn included; must be true."""


class TrainingPoint(Record):
    """One point of a learning curve."""

    step: int
    """Optimizer step."""
    loss: float
    """Training loss (nats per supervised token)."""
    learning_rate: float | None = None
    """At that step."""


class DevPoint(Record):
    """One look at dev during training: generated answers, scored by the task's first metric."""

    step: int
    """Optimizer step."""
    score: float | None
    """Mean over the items that have a score; None where too many have none."""
    n: int
    """Items with a score."""
    loss: float | None = None
    """Loss on the gold answers of the same items (nats per supervised token)."""


class CurvePoint(Record):
    """One point of a further curve of a training, e.g. of the rewards' margin."""

    step: int
    """Optimizer step."""
    value: float
    """Its value there."""


class TrainingFinding(Record):
    """What a training's own curves say against it, by a stated rule."""

    rule: Literal["overfitting", "no_better_than_chance", "diverged"]
    """`overfitting`: the training loss falls while dev gets worse; `no_better_than_chance`: it falls while answers to
    dev fit their own questions no better than other questions' gold answers (shuffled labels look so); `diverged`: it
    ends far above where it began."""
    message: str
    """Steps and figures."""


class ProbeScores(Record):
    """Log-likelihoods of the fixed probe texts in the training process, when it had finished: what serving must give.

    One tuple a probe, one number a continuation (nats, summed over its tokens); empty for a probe that this model
    cannot be asked (no room, no chat template).
    """

    probes: str
    """Digest of the probe texts; numbers of other texts are not compared."""
    base: tuple[tuple[float, ...], ...]
    """The base model's, the adapter switched off."""
    tuned: tuple[tuple[float, ...], ...]
    """With the adapter."""
    tokens: tuple[tuple[int, ...], ...]
    """Tokens of each continuation."""
    quantized: bool = False
    """Whether the base model's weights were quantised: served weights are not, so equal numbers cannot be asked for."""


class ManagedJob(Record):
    """A fine-tuning job at a service."""

    service: str
    """Which."""
    job: str
    """Its id there."""
    base: str
    """The base model's name there."""
    files: tuple[str, ...]
    """Ids of the files that were sent: train, then validation."""
    tokens: int | None = None
    """Tokens that the service says it trained; None where it does not say."""
    cost: float | None = None
    """Tokens times the stated price, else the service's own figure, in its currency; None where neither is known."""


class SeedTraining(Record):
    """One finished training."""

    seed: int
    """Training seed."""
    adapter: AdapterRef
    """What came out."""
    steps: int
    """Optimizer steps."""
    curve: tuple[TrainingPoint, ...]
    """Learning curve."""
    seconds: float
    """Wall time over all sittings."""
    peak_memory_bytes: int | None
    """Peak resident memory of the training process (CPU) or of its device memory (GPU), over all sittings."""
    resumed: int
    """How many times it went on from a checkpoint."""
    trainable_parameters: int | None
    """Parameters that were trained; None where a service does not tell."""
    device: str | None = None
    """`cpu`, `cuda`, or `remote` at a service: where it was trained, also when it was taken over."""
    dtype: str | None = None
    """Number type of the base model's weights; for a quantised base, of the arithmetic on them."""
    packages: dict[str, str] | None = None
    """Versions of the libraries that trained it."""
    probes: ProbeScores | None = None
    """Log-likelihoods of fixed texts in the training process; None where none were taken."""
    dev: tuple[DevPoint, ...] = ()
    """Looks at dev as training went on; step 0 is what training began from, under the same prompt."""
    chosen_step: int | None = None
    """Optimizer step whose weights came out: the best on dev, first of equals; None where no look was taken."""
    stopped_early: bool = False
    """Whether it ended before its last step, as dev did not get better."""
    findings: tuple[TrainingFinding, ...] = ()
    """What the curves say against it."""
    dev_seconds: float | None = None
    """Wall time of `seconds` that the looks at dev took; None where none was taken."""
    curves: dict[str, tuple[CurvePoint, ...]] = Field(default_factory=dict)
    """What else the trainer told of itself by step: gradient norm, and rewards, margins, KL where the objective has
    them."""
    managed: ManagedJob | None = None
    """The job at a service that trained it; None where it was trained otherwise."""


class MemoryForecast(Record):
    """What a training will take, told before it begins."""

    weights: int
    """Bytes of the base model's weights, as they are held."""
    trainable: int
    """Bytes of trained weights apart from the base's."""
    gradients: int
    """Bytes."""
    optimizer: int
    """Bytes of the optimizer's state."""
    activations: int
    """Bytes at the longest batch, logits and loss included."""
    overhead: int
    """Bytes of libraries, allocator and buffers."""
    available: int | None = None
    """Bytes free on the device when it was made; None where it cannot be told."""
    advice: str = ""
    """What would fit, where this does not."""

    @property
    def total(self) -> int:
        """Bytes at the peak."""
        return self.weights + self.trainable + self.gradients + self.optimizer + self.activations + self.overhead


class TrainingRecord(Record):
    """All trainings of an experiment, one per seed."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    method: str
    """Training method."""
    prompt: Prompt
    """The prompt that the rows were trained under; the tuned candidate is judged with it."""
    arguments: dict[str, Any]
    """Every training argument that was set."""
    device: str
    """`cpu`, `cuda`; `remote` at a service."""
    supervision: Supervision
    """Evidence from the tensors."""
    seeds: tuple[SeedTraining, ...]
    """One per seed."""
    cost: float | None = None
    """Training hours times `budget.gpu_hour_price`, in its currency; at a service the sum over its jobs. None when no
    price is known."""
    forecast: MemoryForecast | None = None
    """What it was expected to take; None where nothing was trained here."""
    learned_from: str = ""
    """One sentence on rows that are not the train split as it stands: a teacher's, pairs, replayed ones."""
