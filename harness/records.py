"""The vocabulary: every record that crosses a file boundary. Read this first.

All records are frozen and refuse unknown fields. `None` means "not measured" and
is never the same as 0. Records say what happened; behaviour lives elsewhere.

    Experiment folder    what it holds                          record
    spec.yaml            the resolved spec                      (spec.ExperimentSpec)
    provenance.json      versions, commit, hardware, model      Provenance
    conditions.json      the engine that answers everything     Conditions
    data.json            fingerprints and audit                 DataRecord
    prompt.json          the prompt race and its winner         PromptRecord
    training.json        one training per seed                  TrainingRecord
    runs/<id>/run.json   one candidate on one suite             RunRecord
    runs/<id>/samples    one line per sample                    SampleRecord
    comparisons.jsonl    two runs joined                        ComparisonRecord
    verdict.json         the decision and its gates             VerdictRecord
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
SchemaVersion = Annotated[int, Field(ge=1, le=SCHEMA_VERSION)]

Decision = Literal["promote", "reject", "inconclusive", "prompt_suffices"]
Outcome = Literal["pass", "fail", "inconclusive"]
Role = Literal["task", "regression", "safety"]
SplitName = Literal["train", "dev", "test"]
OutputType = Literal["generate", "choice"]

EXIT_CODES: dict[Decision, int] = {"promote": 0, "reject": 10, "inconclusive": 11, "prompt_suffices": 12}
"""What `harness run` returns for each decision."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the form that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 (64 hex digits) of a record or of any JSON value in canonical form."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Record(BaseModel):
    """Base of all records: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Message(Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: str
    """What is said, as plain text."""


# ----------------------------------------------------------------- what is asked


class Item(Record):
    """One question of a task, before any candidate's prompt is put around it."""

    id: str
    """Unique inside its task."""
    messages: tuple[Message, ...] = ()
    """Chat items: the turns before the answer. A candidate's prompt is put before them."""
    text: str | None = None
    """Plain items: the rendered text, sent without a chat template, as lm-eval does."""
    choices: tuple[str, ...] | None = None
    """Choice items: the continuations whose log-likelihoods are compared."""
    target: str
    """The gold answer; for a choice item the text of the right choice."""
    cluster: str | None = None
    """Items that share a cluster are not independent (one passage, one conversation)."""
    slices: dict[str, str] = Field(default_factory=dict)
    """Named properties by which results can be cut, e.g. {"language": "de"}."""

    @property
    def digest(self) -> str:
        """Content identity: what must be equal for two runs to have been asked the same."""
        return digest(self.model_dump(mode="json", exclude={"id", "slices"}))


class Decoding(Record):
    """Every decoding parameter, stated; none is taken from a model's generation config."""

    max_tokens: Annotated[int, Field(ge=1)] = 64
    """Upper limit of new tokens."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling; without effect when greedy."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer and are cut from it; the end-of-turn token always ends it."""
    seed: int = 0
    """Sampling seed; without effect when greedy."""


class Prompt(Record):
    """What is put before every question: an instruction and worked examples."""

    name: str
    """Short name of the variant, e.g. `raw`, `labels+4`."""
    instruction: str
    """System message; empty for none."""
    demonstrations: tuple[tuple[Message, ...], ...] = ()
    """Worked examples as turns, from the train split only."""
    demonstration_ids: tuple[str, ...] = ()
    """Train ids of the demonstrations, in order."""


class ModelRef(Record):
    """The base model, by content."""

    name: str
    """As spelled in the spec: hub id, local path or `package:NAME`."""
    digest: str
    """sha256 over its weights, config, tokenizer and chat template."""
    revision: str | None = None
    """Hub commit or package version."""
    chat_template_digest: str | None = None
    """sha256 of the chat template text."""


class AdapterRef(Record):
    """A trained adapter, by content. Weights lie under HARNESS_HOME, never in the store."""

    digest: str
    """sha256 over adapter weights and config; also its folder name."""
    method: str
    """Training method, e.g. `lora`."""
    seed: int
    """Training seed."""


class Candidate(Record):
    """What answers: model x adapter or none x prompt x decoding."""

    name: str
    """`base`, `best_prompt`, `tuned-seed0`, ..."""
    model: ModelRef
    """The base model."""
    adapter: AdapterRef | None = None
    """The adapter on top of it, if any."""
    prompt: Prompt
    """What is put before each question of the task; regression suites are asked as they stand."""
    decoding: Decoding
    """Decoding on the task; a suite's task YAML states its own."""

    @property
    def digest(self) -> str:
        """Identity by content: the name does not count."""
        return digest(self.model_dump(mode="json", exclude={"name"}))


# ------------------------------------------------------------- what was answered


class SampleRecord(Record):
    """One item answered by one candidate. A failed call is a record too: scores are None."""

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
    """Why it is unscored."""
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
    """Prompt tokens, all items."""
    tokens_out: int | None
    """Generated tokens, all items."""
    seconds: float
    """Wall time of the sitting that finished it."""
    latency_p50_s: float | None
    """Median seconds per answer."""
    latency_p95_s: float | None
    """95th percentile of seconds per answer."""
    samples_digest: str
    """sha256 of the sample records, sorted by task and id: pins what a verdict judged."""
    created: str
    """UTC time, ISO 8601."""

    def metric(self, task: str, metric: str) -> MetricSummary | None:
        """The summary of one metric of one task, or None."""
        return next((m for m in self.metrics if m.task == task and m.metric == metric), None)


# ------------------------------------------------------------------ before training


class Finding(Record):
    """One thing the data audit found."""

    rule: str
    """Rule name, e.g. `leak_exact`, `duplicate_exact`, `empty_answer`."""
    severity: Literal["error", "warning"]
    """Errors stop the run."""
    file: str
    """File name as spelled in the spec."""
    line: int
    """1-based physical line; 0 when it concerns the whole file."""
    message: str
    """What is wrong and what to do."""


class SplitRecord(Record):
    """One split of the task's data."""

    file: str
    """File name as spelled in the spec."""
    rows: int
    """Rows in use."""
    fingerprint: str
    """Content identity, independent of row order."""


class DataRecord(Record):
    """The task's data: what it is and what was found in it."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    format: str
    """Detected row format, e.g. `messages`, `prompt/completion`."""
    splits: dict[SplitName, SplitRecord]
    """train, dev, test."""
    findings: tuple[Finding, ...]
    """All findings, errors first."""
    majority_answer: str | None
    """Most frequent answer in train, where answers repeat."""
    majority_score: float | None
    """Share of test rows that always giving it would get right."""


class ArmRecord(Record):
    """One contestant of the prompt race."""

    prompt: Prompt
    """The arm itself."""
    scores: tuple[float | None, ...]
    """Scores on the shared dev items, in the order they were asked."""
    mean: float | None
    """Mean of the scored."""
    rung: int
    """Last rung reached (0-based)."""
    fate: str
    """`winner`, or why and when it fell."""


class PromptRecord(Record):
    """The prompt race: every arm, every score, and the winner."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    search: str
    """`race` or `none`."""
    metric: str
    """What was optimised, on dev."""
    budget: int
    """Model calls allowed."""
    calls: int
    """Model calls made, cached ones included."""
    seed: int
    """Seed of demonstrations and item order."""
    dev_ids: tuple[str, ...]
    """Dev items in the order they were asked; all arms share it."""
    arms: tuple[ArmRecord, ...]
    """Best first."""
    winner: Prompt
    """The best prompt."""
    winner_dev: Interval
    """Its score over the dev items it was asked (optimistic: it was chosen on them)."""


# ------------------------------------------------------------------------- training


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
    example: str
    """First row decoded, the learned span between [[ and ]]."""


class TrainingPoint(Record):
    """One point of a learning curve."""

    step: int
    """Optimizer step."""
    loss: float
    """Training loss (nats per supervised token)."""
    learning_rate: float | None = None
    """At that step."""


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
    trainable_parameters: int
    """Parameters that were trained."""
    device: str | None = None
    """`cpu` or `cuda`: where it was trained, also when it was taken over from an earlier training."""
    dtype: str | None = None
    """Number type of the base model's weights; for a quantised base, of the arithmetic on them."""
    packages: dict[str, str] | None = None
    """Versions of the libraries that trained it."""


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
    """`cpu`, `cuda`."""
    supervision: Supervision
    """Evidence from the tensors."""
    seeds: tuple[SeedTraining, ...]
    """One per seed."""
    cost: float | None = None
    """Training hours times `budget.gpu_hour_price`, in its currency; None when no price was given."""


# ------------------------------------------------------------------------- judging


class ComparisonRecord(Record):
    """Two runs joined sample by sample; differences are candidate minus reference."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of this record's form."""
    suite: str
    """Suite name."""
    task: str
    """Task name, or `*` for all items of the suite."""
    metric: str
    """Metric; `primary` takes each task's own first metric."""
    candidate: str
    """Candidate run id (several, joined by `+`, when seeds are averaged)."""
    reference: str
    """Reference run id."""
    candidate_mean: float | None
    """Mean over the joined items."""
    reference_mean: float | None
    """Mean over the joined items."""
    difference: Interval
    """Mean paired difference with its interval."""
    won: int
    """Items on which the candidate scored higher."""
    lost: int
    """Items on which the reference scored higher."""
    tied: int
    """Items with equal scores."""
    unscored: int
    """Items left out because one side has no score."""


class GateRecord(Record):
    """One gate as it was judged."""

    suite: str
    """Suite name, `task` for the experiment's own."""
    task: str
    """Task inside the suite, `*` for all."""
    metric: str
    """Metric."""
    against: str
    """`base`, `best_prompt`, ..."""
    min_delta: float
    """The signed margin."""
    blocking: bool
    """Blocking gates decide; advisory ones only inform."""
    outcome: Outcome
    """pass if low > min_delta, fail if high < min_delta, otherwise inconclusive."""
    reason: str
    """One sentence with the numbers."""
    comparison: ComparisonRecord | None
    """The evidence; None when there was none."""


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
    claim: Literal["artifact"] = "artifact"
    """`artifact`: these very weights, conditional on their training run."""
    candidate: str
    """Name of the candidate that was judged."""
    gates: tuple[GateRecord, ...]
    """Every gate."""
    runs: tuple[JudgedRun, ...]
    """Every run that a gate looked at."""
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
