"""What the task is, and the suites made of its own rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from harness import metrics
from harness.data import Split
from harness.errors import HarnessError
from harness.metrics import CORPUS_METRICS
from harness.partspec import PartSpec
from harness.records import Decoding, Item, OutputType, SplitName
from harness.suites import Suite, Task

TASK_SUITE = "task"
"""Name of the suite made from the experiment's own data."""


class TaskSpec(PartSpec):
    """What the task is: how an answer is scored and what the model is told."""

    metric: str
    """Primary metric; docs/metrics.md lists the names. With arguments: `{numeric: {tolerance: 0.01}}`, or as text
    `numeric(tolerance=0.01)`; one's own: `./my_metric.py:score`. On rows with a chosen and a rejected answer `acc` and
    `acc_norm` ask whether the chosen one is likelier; any other metric scores generated answers against it."""
    metrics: tuple[str, ...] = ()
    """Further metrics to report, also of all answers together (`macro_f1`); they decide nothing unless a gate does."""
    instruction: str | None = None
    """The raw prompt (system message); default: the one that all rows carry, else none."""
    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 64
    """Upper limit of new tokens for an answer; must hold the longest gold answer."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0 is greedy; else answers are sampled, with a stated seed."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """Answers per test item, for sampled answers; they are averaged before anything else."""

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        further = given.get("metrics")
        several = {"metrics": [metrics.entry(one) for one in further]} if isinstance(further, list | tuple) else {}
        return {**given, **({"metric": metrics.entry(given["metric"])} if "metric" in given else {}), **several}

    @field_validator("metric")
    @classmethod
    def _known(cls, name: str) -> str:
        return _of_samples(name)

    @field_validator("metrics")
    @classmethod
    def _all_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name if name in CORPUS_METRICS else _of_samples(name) for name in names)

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if "" in texts:
            raise ValueError("an empty text would end every answer before it begins")
        return texts

    @model_validator(mode="after")
    def _of_one_kind(self) -> TaskSpec:
        for name in self.metrics:
            if compares_choices(name) != compares_choices(self.metric):
                one = "log-likelihoods of choices" if compares_choices(self.metric) else "generated text"
                raise ValueError(f"metrics: {name!r} does not go with {self.metric!r}, which scores {one}")
        if compares_choices(self.metric) and self.repeats > 1:
            raise ValueError("repeats: log-likelihoods of choices do not differ from time to time; leave it out")
        return self

    @model_validator(mode="after")
    def _repeats_differ(self) -> TaskSpec:
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError("repeats: greedy answers do not differ; give a temperature above 0, or leave it out")
        return self

    @property
    def decoding(self) -> Decoding:
        """As stated; nothing is left to a model's own defaults."""
        return Decoding(max_tokens=self.max_tokens, stop=self.stop, temperature=self.temperature)


def compares_choices(metric: str) -> bool:
    """Whether a metric scores log-likelihoods of choices: pairs of answers, of which the better one shall be likelier.

    It is asked nothing then but how likely each is after the prompt.
    """
    if metrics.names_a_file(metric) or metric in CORPUS_METRICS:
        return False
    return metrics.get(metric).output == "choice"


def _of_samples(name: str) -> str:
    """A metric with a score for every item: what a prompt race ranks by and a gate pairs."""
    if metrics.names_a_file(name):
        return name  # known once the file is read: see `metrics.bind`
    if name in CORPUS_METRICS:
        raise ValueError(f"{name!r} is a metric of all answers together; put it into task.metrics, or into a gate")
    try:
        found = metrics.get(name)
    except HarnessError as fault:
        raise ValueError(str(fault)) from fault
    if not found.learnable:
        raise ValueError(
            f"metric {name!r} wants {found.target} as target, which is no answer to learn; use it in a suite"
        )
    return found.name


def task_suite(split: Split, spec: TaskSpec) -> Suite:
    """The experiment's own task over one split, as a suite like any other."""
    return Suite(TASK_SUITE, "task", split.name, (_task(split.items, spec),))


def items_suite(name: str, items: Sequence[Item], spec: TaskSpec) -> Suite:
    """Further items asked and scored as the task is, e.g. those that must not break."""
    return Suite(name, "regression", "test", (_task(tuple(items), spec),))


def _task(items: tuple[Item, ...], spec: TaskSpec) -> Task:
    names = (spec.metric, *(name for name in spec.metrics if name != spec.metric))
    of_samples = tuple(name for name in names if name not in CORPUS_METRICS)
    of_all = tuple(name for name in names if name in CORPUS_METRICS)
    kind: OutputType = "choice" if compares_choices(spec.metric) else "generate"
    return Task(TASK_SUITE, kind, items, of_samples, spec.decoding, repeats=spec.repeats, corpus_metrics=of_all)


def run_id(candidate: str, suite: str, split: SplitName) -> str:
    """Folder name of a run."""
    return f"{candidate}--{suite}--{split}"
