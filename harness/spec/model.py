"""What an experiment file holds: every part-spec under its key."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from harness.compare.measures import LATENCIES
from harness.data import DataSpec
from harness.engines import ServeSpec
from harness.evaluate import TaskSpec
from harness.gates import GateSpec, PolicySpec
from harness.metrics import JudgeSpec
from harness.money import BudgetSpec
from harness.partspec import PartSpec
from harness.prompts import PromptSpec
from harness.suites import SuiteUse
from harness.trainers import TrainSpec

REFERENCES = ("base", "best_prompt")
"""Whom every experiment has to compare a tuned candidate with: the raw prompt and the best one, on the base model."""


class ExperimentSpec(PartSpec):
    """A claim to be tested. Everything but name, model, data, task and gates has a default."""

    name: str
    """Short name: letters, digits, dots, dashes, underscores."""
    hypothesis: str = ""
    """The claim in one sentence."""
    model: str
    """Base model: hub id, local path, or package:NAME."""
    revision: str | None = None
    """Hub branch, tag or commit to pin."""
    trust_remote_code: bool = False
    """Whether code that comes with the base model may run on this machine; docs/training.md says what that means."""
    data: DataSpec
    """The task's rows."""
    task: TaskSpec
    """How the task is scored."""
    prompt: PromptSpec = PromptSpec()
    """How hard to look for a good prompt first."""
    enough: tuple[GateSpec, ...] = ()
    """Stop before training when the best prompt is good enough with confidence: a score, e.g. 0.95, or gates with
    `at_least` and `at_most` on the task, which must all pass."""
    train: TrainSpec = TrainSpec()
    """How to train."""
    finalists: Annotated[int, Field(ge=1)] = 1
    """How many seeds, best on dev first, are judged on the test split; each is a look at it."""
    serve: ServeSpec = ServeSpec()
    """How to serve what is judged."""
    suites: tuple[SuiteUse, ...] = ()
    """Further suites to evaluate base and tuned candidate on: a name, folder or task YAML, or a mapping of
    `suite`, `data` (folder of its data files), `limit` (first items only) and `filter` (one of several pipelines)."""
    policy: PolicySpec = PolicySpec()
    """Error, looks and family of the gates, here or as the name of a YAML file; its gates come before these."""
    gates: tuple[GateSpec, ...] = ()
    """The rules that decide."""
    stop_early: bool = False
    """Stop asking a suite when every gate on it is decided, by a test that holds at any time."""
    forgetting: bool = True
    """Measure what each judged adapter changed of general text and general answers: some 150 short calls an adapter,
    and 30 answers of the base model. It informs, and no gate rests on it."""
    budget: BudgetSpec = BudgetSpec()
    """Prices, and limits at which it stops."""
    allow_code_execution: bool = False
    """Whether metrics may run what the model writes, in the sandbox of docs/metrics.md."""
    judge: JudgeSpec | None = None
    """The language model that the metrics `judge` and `judge_pairwise` ask."""

    @field_validator("enough", mode="before")
    @classmethod
    def _score(cls, given: Any) -> Any:
        if given is None:
            return ()
        if isinstance(given, int | float) and not isinstance(given, bool):
            return (GateSpec(at_least=given),)
        if not isinstance(given, list | tuple):
            raise ValueError(f"got {given!r}; a score such as 0.95, or a list of gates")
        return given

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or "--" in name:
            raise ValueError(f"got {name!r}; letters, digits, dots, single dashes and underscores, at most 64")
        return name

    @model_validator(mode="after")
    def _parts_agree(self) -> ExperimentSpec:
        if not any(gate.blocking for gate in self.rules):
            raise ValueError("gates: no blocking gate: nothing would decide, and nothing passes by default")
        seeds = len(self.train.seeds)
        if self.policy.claim == "recipe" and seeds < 2:
            raise ValueError(
                "policy.claim: recipe speaks of training this way, over seeds, and train.seeds has one; "
                "give at least two, better three or more"
            )
        if self.policy.claim == "recipe" and self.finalists > 1:
            raise ValueError("finalists: a recipe is judged over all its seeds at once; leave finalists out")
        if self.finalists > seeds:
            raise ValueError(f"finalists: {self.finalists} of {seeds} seeds; no more than there are")
        return self

    @property
    def serving(self) -> ServeSpec:
        """How candidates are served. Where a gate is on latency nothing is told again, as if timed now."""
        return self.serve.model_copy(update={"cache": False}) if self.timed else self.serve

    @property
    def timed(self) -> bool:
        """Whether a gate is on latency."""
        return any(gate.metric in LATENCIES for gate in (*self.rules, *self.enough))

    @property
    def repeats(self) -> int:
        """Answers per item of the task."""
        return self.task.repeats

    @property
    def rules(self) -> tuple[GateSpec, ...]:
        """Every gate: the policy's, then the experiment's own."""
        return self.policy.gates + self.gates

    @property
    def references(self) -> tuple[str, ...]:
        """What a gate can compare the tuned candidate with; `majority` only where answers are a closed set."""
        return (*REFERENCES, *self.prompt.contestants)
