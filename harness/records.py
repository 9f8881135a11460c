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

Beside the experiment folders, `looks.jsonl` counts who was judged on which test split (LookRecord).
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 2
SchemaVersion = Annotated[int, Field(ge=SCHEMA_VERSION - 1, le=SCHEMA_VERSION)]

Decision = Literal["promote", "reject", "inconclusive", "prompt_suffices"]
Outcome = Literal["pass", "fail", "inconclusive"]
Role = Literal["task", "regression", "safety"]
SplitName = Literal["train", "dev", "test"]
OutputType = Literal["generate", "choice"]
Claim = Literal["artifact", "recipe"]
Rule = Literal["min_delta", "at_least", "at_most", "must_not_break"]
Spending = Literal["halving", "even"]
Severity = Literal["error", "warning", "info"]
Action = Literal["error", "drop", "fix", "warn", "ignore"]

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
    stopped: EarlyStop | None = None
    """How it ended early; None when every item was asked."""
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
    severity: Severity
    """Errors stop the run; info needs no answer."""
    file: str
    """File name as spelled in the spec."""
    line: int
    """1-based physical line; 0 when it concerns the whole file."""
    message: str
    """What is wrong and what to do."""
    action: Action = "warn"
    """What is done about the row, here and by `harness data clean`."""
    partner_line: int | None = None
    """The other line of the same file, where it takes two."""
    test_id: str | None = None
    """Id of the evaluation row that this one gives away."""
    similarity: float | None = None
    """How alike the two are, from 0 to 1."""


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
    card: dict[str, str] = Field(default_factory=dict)
    """Source, licence and notes, as the spec gives them."""
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
    """`task` for an experiment's own task, else the suite's name."""
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
