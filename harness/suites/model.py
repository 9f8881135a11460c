"""What a suite is once it is loaded: named tasks with their items, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from harness.partspec import PartSpec
from harness.records import Decoding, Item, OutputType, Role, SplitName, digest

MUST_NOT_BREAK = "must-not-break-"
"""How the name of a suite begins that is made of a file of items that must not break."""


def must_not_break(file: str) -> str:
    """Name of the suite that is made of such a file."""
    return MUST_NOT_BREAK + PurePosixPath(file).stem


class SuiteUse(PartSpec):
    """A suite as an experiment uses it; its name alone is the usual form."""

    suite: str
    """A suite's name, folder or task YAML."""
    data: str | None = None
    """Folder with its data files, for published suites; default: HARNESS_DATA."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Only the first items of each task, in the file's order (lm-eval's `--limit`)."""
    fewshot: Annotated[int, Field(ge=0)] | None = None
    """Worked examples before each question, in place of the YAML's own number (lm-eval's `--num_fewshot`)."""
    filter: str | None = None
    """Name of the filter pipeline whose answers are scored, where a task has several."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"suite": given} if isinstance(given, str) else given

    @model_serializer(mode="wrap")
    def _short(self, dump: SerializerFunctionWrapHandler) -> Any:
        """As short as it can be written: a name alone stays one."""
        told = {key: value for key, value in dump(self).items() if value is not None}
        return self.suite if len(told) == 1 else told


@dataclass(frozen=True, slots=True)
class Task:
    """Items of one kind with their metrics and decoding."""

    name: str
    output_type: OutputType
    """`generate`: the answer is text; `choice`: log-likelihoods of the item's choices are compared."""
    items: tuple[Item, ...]
    metrics: tuple[str, ...]
    """Names from harness.metrics; the first is the primary one."""
    decoding: Decoding
    filters: tuple[tuple[str, str], ...] = ()
    """Steps applied to an answer before scoring, as (function, argument), e.g. ("remove_whitespace", "")."""
    repeats: int = 1
    """Answers per item, each sampled with a seed of its own; a comparison averages them first."""
    corpus_metrics: tuple[str, ...] = ()
    """Names from `harness.metrics.CORPUS_METRICS`, computed over all answers together and only reported."""
    target_delimiter: str = ""
    """Choice tasks: what stands before each choice as asked; it does not count in a choice's length."""
    as_it_stands: bool = False
    """Chat items are asked with this task's decoding and without any candidate's prompt, as plain ones always are."""
    examples: tuple[str, ...] = ()
    """How a question would end that is one of the worked examples."""
    chance: float | None = None
    """Score of who knows nothing, where the suite states it (`metadata.chance`)."""

    def first(self, limit: int | None) -> Task:
        """The task with its first items only; None keeps all."""
        return self if limit is None else replace(self, items=self.items[:limit])

    @property
    def asked(self) -> list[Any]:
        """What makes two runs of this task comparable."""
        plain = self.output_type == "generate" and any(not item.messages for item in self.items)
        decoding = self.decoding.model_dump(mode="json") if plain or self.as_it_stands else None
        items = sorted(f"{item.id}:{item.digest}" for item in self.items)
        return [self.name, self.output_type, self.metrics[0], self.filters, self.target_delimiter, decoding, items]


@dataclass(frozen=True, slots=True)
class Suite:
    """Named tasks with a role."""

    name: str
    role: Role
    split: SplitName
    tasks: tuple[Task, ...]

    @property
    def fingerprint(self) -> str:
        """Content identity of what is asked and how it is judged; independent of order.

        Metrics that are only reported do not count, nor does decoding that is not used: what the
        answers were made with is the candidate's own, except for plain texts.
        """
        return digest([task.asked for task in sorted(self.tasks, key=lambda task: task.name)])

    @property
    def size(self) -> int:
        """Number of items over all tasks."""
        return sum(len(task.items) for task in self.tasks)
