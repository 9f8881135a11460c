"""How hard to look for a good prompt, and which baselines stand beside it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from harness.chat import template
from harness.errors import HarnessError
from harness.partspec import PartSpec
from harness.records import Constraint

Contestant = Literal["few_shot", "cot", "rag", "majority"]
Choosing = Literal["random", "balanced", "nearest", "hard"]


def _readable(text: str) -> str:
    """A template of the user's that Jinja can read."""
    try:
        template(text)
    except HarnessError as fault:
        raise ValueError(str(fault)) from fault
    return text


class Budget(PartSpec):
    """What the search may spend: model calls or tokens."""

    calls: Annotated[int, Field(ge=8)] | None = None
    """Model calls."""
    tokens: Annotated[int, Field(ge=1000)] | None = None
    """Prompt and answer tokens together."""

    @model_validator(mode="after")
    def _one(self) -> Budget:
        if (self.calls is None) == (self.tokens is None):
            raise ValueError("give calls or tokens, one of them")
        return self

    @property
    def amount(self) -> int:
        """How much, in `unit`."""
        return self.calls or self.tokens or 0

    @property
    def unit(self) -> Literal["calls", "tokens"]:
        """What is counted."""
        return "calls" if self.calls is not None else "tokens"


class Proposals(PartSpec):
    """Instruction variants that a language model writes, from the task's own instruction and train rows."""

    by: str = "base"
    """`base`: the base model itself; else the URL of an OpenAI-compatible endpoint, its key in HARNESS_PROPOSER_KEY."""
    model: str = ""
    """Model name at that endpoint."""
    count: Annotated[int, Field(ge=1, le=64)] = 4
    """How many variants; each costs a call."""
    max_tokens: Annotated[int, Field(ge=16, le=8192)] = 400
    """Longest variant."""


class RetrievalSpec(PartSpec):
    """What is looked up, for the `rag` contestant and for demonstrations that are nearest to the question."""

    by: str = "bm25"
    """`bm25`, or an embedding model for sentence-transformers: a hub id or a local folder."""
    documents: str | None = None
    """A folder of .txt and .md files for `rag`; without one it looks in the train rows."""
    count: Annotated[int, Field(ge=1, le=64)] = 4
    """Passages or rows a question."""
    words: Annotated[int, Field(ge=20, le=2000)] = 120
    """Longest passage in words; longer paragraphs are cut into passages that overlap by a sixth."""


class PromptSpec(PartSpec):
    """How hard to look for a good prompt. Everything has a default; demonstrations come from train alone."""

    search: Literal["race", "gepa", "dspy", "none"] = "race"
    """`race`: this project's own; `gepa`, `dspy`: other optimisers on the same budget; `none`: raw is the bar."""
    budget: Budget = Budget(calls=2000)
    """What the search may spend, e.g. 2000 (model calls) or {tokens: 500000}."""
    instructions: tuple[str, ...] = ()
    """Your own instruction variants, tried beside the task's own and its rewritings."""
    templates: tuple[Annotated[str, AfterValidator(_readable)], ...] = ()
    """Your own forms of the question's turn as Jinja templates, e.g. "Message: {{ input }}\\nIntent:"."""
    proposals: Proposals | None = None
    """Variants written by a language model; none by default."""
    shots: tuple[Annotated[int, Field(ge=0, le=64)], ...] = (0, 4, 8, 16)
    """Numbers of demonstrations to try."""
    demonstrations: tuple[Choosing, ...] = ("balanced", "nearest", "hard")
    """How to choose them: at random, evenly over the answers, nearest to each question, or rows that the raw
    prompt gets wrong."""
    draws: Annotated[int, Field(ge=1, le=16)] = 2
    """Different demonstration sets for a number, where chance has a part in choosing them."""
    reasoning: bool = True
    """Also try prompts that ask for reasoning before the answer."""
    reasoning_tokens: Annotated[int, Field(ge=16, le=32768)] = 256
    """Room for the reasoning, beside the task's max_tokens."""
    constrain: Literal["auto", "never"] | Constraint = "auto"
    """Structured output to try: `auto` derives it from the train answers (a closed set of answers, or the shape of
    their JSON objects); or one of your own, e.g. {regex: "[0-9]+"}."""
    retrieval: RetrievalSpec = RetrievalSpec()
    """What is looked up, and by what."""
    contestants: tuple[Contestant, ...] = ("few_shot", "cot", "rag", "majority")
    """Baselines that meet the test split beside the raw and the best prompt; `majority` only where answers are a
    closed set."""
    with_tuned: bool = True
    """Judge the tuned candidate under the best prompt too, beside the one that it was trained under."""
    seed: int = 0
    """Seed of the demonstrations and of the order of dev items."""

    @field_validator("budget", mode="before")
    @classmethod
    def _calls(cls, given: Any) -> Any:
        return {"calls": given} if isinstance(given, int) and not isinstance(given, bool) else given

    @field_validator("shots", "demonstrations", "contestants")
    @classmethod
    def _once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(given)) < len(given):
            raise ValueError(f"{list(given)} names something twice")
        return given

    @model_validator(mode="after")
    def _choosing(self) -> PromptSpec:
        if any(self.shots) and not self.demonstrations:
            raise ValueError("demonstrations: none, but shots asks for some; name a way to choose them, or shots: [0]")
        if self.proposals is not None and self.proposals.by != "base" and not self.proposals.model:
            raise ValueError("proposals.model: is missing; name the model at that endpoint")
        return self
