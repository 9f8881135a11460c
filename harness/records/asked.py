"""What is asked, and who answers: items, prompts, candidates."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness.records.base import Grown, Message, Record, digest


class Item(Grown):
    """One question of a task, before any candidate's prompt is put around it."""

    later: ClassVar[frozenset[str]] = frozenset({"continuation"})

    id: str
    """Unique inside its task."""
    messages: tuple[Message, ...] = ()
    """Chat items: the turns before the answer. A candidate's prompt is put before them."""
    text: str | None = None
    """Plain items: the rendered text, sent without a chat template, as lm-eval does."""
    choices: tuple[str, ...] | None = None
    """Choice items: the continuations whose log-likelihoods are compared. Of a single one it is asked whether greedy
    decoding would write it."""
    target: str
    """The gold answer; for a choice item the text of the right choice."""
    cluster: str | None = None
    """Items that share a cluster are not independent (one passage, one conversation)."""
    slices: dict[str, str] = Field(default_factory=dict)
    """Named properties by which results can be cut, e.g. {"language": "de"}."""
    continuation: str | None = None
    """Choice items whose choices are contexts (partial scoring, as of WinoGrande): what follows each of them, and whose
    log-likelihoods are compared. None: the choices themselves are compared."""

    @property
    def digest(self) -> str:
        """Content identity: what must be equal for two runs to have been asked the same."""
        return digest(self.model_dump(mode="json", exclude={"id", "slices"}))


class Constraint(Record):
    """What an answer may be, enforced token by token while it is written. Exactly one is given."""

    choices: tuple[str, ...] = ()
    """The answer is one of these texts."""
    json_schema: dict[str, Any] | None = None
    """The answer is one JSON value that this JSON Schema allows."""
    regex: str | None = None
    """The whole answer matches this regular expression."""

    @model_validator(mode="after")
    def _one(self) -> Constraint:
        given = [bool(self.choices), self.json_schema is not None, self.regex is not None]
        if sum(given) != 1:
            raise ValueError(f"{sum(given)} given; exactly one of choices, json_schema and regex")
        return self


class Decoding(Grown):
    """Every decoding parameter, stated; none is taken from a model's generation config."""

    later: ClassVar[frozenset[str]] = frozenset({"constraint"})

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
    constraint: Constraint | None = None
    """Structured output: nothing else can be answered. None leaves the answer free."""


class Retrieval(Grown):
    """What is looked up for each question and put into its prompt."""

    later: ClassVar[frozenset[str]] = frozenset({"embedder"})

    source: Literal["train", "documents"]
    """Rows of the train split, or passages of a folder of documents."""
    use: Literal["demonstrations", "context"]
    """Found train rows become worked examples, nearest last; what is found otherwise is put before the question."""
    by: str = "bm25"
    """`bm25`, or the embedding model whose cosine similarity ranks: a hub id or a local folder."""
    count: Annotated[int, Field(ge=1)] = 4
    """How many are taken."""
    corpus: str
    """sha256 over what is searched: another corpus is another prompt."""
    embedder: str | None = None
    """sha256 over the embedding model's files; None for `bm25`, and in older records."""


class Prompt(Grown):
    """What is put around every question: an instruction, worked examples, what is looked up, and how it is read."""

    later: ClassVar[frozenset[str]] = frozenset({"turn", "retrieval", "answer_after", "fixed_answer"})

    name: str
    """Short name of the variant, e.g. `raw`, `labels+4`."""
    instruction: str
    """System message; empty for none."""
    demonstrations: tuple[tuple[Message, ...], ...] = ()
    """Worked examples as turns, from the train split only."""
    demonstration_ids: tuple[str, ...] = ()
    """Train ids of the demonstrations, in order."""
    turn: str | None = None
    """Jinja template of the question's last user turn: `{{ input }}` is the turn as it stands, `{{ context }}` what
    was looked up; a template that does not name it has it before the turn. None: the turn as it stands."""
    retrieval: Retrieval | None = None
    """What is looked up for each question; None for nothing."""
    answer_after: str | None = None
    """The answer is what follows this mark, up to a blank line (all of the text, where the mark does not occur); what
    stands before is reasoning and is not scored. Letter case and Markdown's emphasis around the mark do not count."""
    fixed_answer: str | None = None
    """Always this answer, and no model is asked: the majority baseline."""


class ModelRef(Grown):
    """The base model, by content."""

    later: ClassVar[frozenset[str]] = frozenset({"remote_code"})

    name: str
    """As spelled in the spec: hub id, local path or `package:NAME`."""
    digest: str
    """sha256 over its weights, config, tokenizer, chat template and the code that it ran by."""
    revision: str | None = None
    """Hub commit or package version."""
    chat_template_digest: str | None = None
    """sha256 of the chat template text."""
    remote_code: bool = False
    """Whether it ran by code of its own, which the spec trusted; that code is part of the digest."""


class Preference(Record):
    """One prompt with a better and a worse answer, or with one found good or bad: what preferences are learned of."""

    id: str
    """Unique among its pairs."""
    messages: tuple[Message, ...]
    """The turns before the answer."""
    chosen: str | None
    """The better answer; None where only a bad one is known (kto)."""
    rejected: str | None
    """The worse answer; None where only a good one is known (kto)."""


class AdapterRef(Grown):
    """What a training made, by content. Weights lie under HARNESS_HOME, never in the store."""

    later: ClassVar[frozenset[str]] = frozenset({"kind", "remote"})

    digest: str
    """sha256 over its weights and config; also its folder name. Of a remote model: over the service and its id."""
    method: str
    """Training method, e.g. `lora`."""
    seed: int
    """Training seed."""
    kind: Literal["lora", "peft", "model", "classifier", "remote"] = "lora"
    """How it is served: `lora` beside the base model by every engine; `peft` is an adapter that vLLM cannot load, which
    transformers serves as it is and vLLM merged; `model` is a whole model; `classifier` a label head over the base
    model; `remote` is a model that only a server has."""
    remote: str | None = None
    """Name of a remote model at its server."""


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
