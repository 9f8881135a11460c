"""Parts of `train:` with keys of their own: choosing a checkpoint, preferences, rewards, teachers, sweeps, services."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from harness.partspec import PartSpec


class SelectSpec(PartSpec):
    """Which checkpoint is the candidate: by default the one that does best on dev by the task's own metric."""

    by: Literal["task", "last"] = "task"
    """`task`: dev items are answered as training goes on, and the checkpoint with the best mean of the task's first
    metric is taken; `last`: the last step is taken and nothing is asked."""
    every: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps between looks at dev; by default a tenth of all steps, at least 5, and more where all looks
    together would answer more than a quarter as many items as rows are trained on."""
    items: Annotated[int, Field(ge=1)] = 100
    """Dev items that are answered at each look: spread evenly over the split, the same every time."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many looks in a row without a better score; None trains to the end."""


class PreferenceSpec(PartSpec):
    """How preferences are learned (dpo, orpo, kto)."""

    pairs: str | None = None
    """File of rows with `prompt`, `chosen`, `rejected` (or, for kto, `prompt`, `completion`, `label`); by default the
    train rows, where they hold a chosen and a rejected answer."""
    beta: Annotated[float, Field(gt=0)] | None = None
    """Strength of the tie to the reference model; by default the method's own."""
    loss: str | tuple[str, ...] | None = None
    """TRL's loss types for DPO, e.g. sigmoid, ipo, hinge."""


class RewardSpec(PartSpec):
    """How rewards are sampled (grpo): answers to the train rows, rewarded by the task's own first metric."""

    generations: Annotated[int, Field(ge=2)] = 4
    """Answers sampled for each prompt."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Their temperature."""
    beta: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL divergence from the reference model."""
    format_metric: str | None = None
    """A second metric that is added to the reward, e.g. json_valid."""


class ReplaySpec(PartSpec):
    """General rows among the task's, against forgetting."""

    file: str
    """Rows in any form that data files may have."""
    ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the rows in training that are general ones; 0, among others in a sweep, to see what they are for."""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL divergence from the base model on the general rows' answers; 0 learns them plainly."""


class TeacherSpec(PartSpec):
    """Answers to the train rows by a stronger model; those that the task's metric finds right are learned from."""

    url: str | None = None
    """An OpenAI-compatible server; None: `model` is a local model, or the base model under the best prompt."""
    model: str = "base"
    """Name of the model there, or a local model as in `model:`; `base`: the base model itself."""
    api_key_env: str = "HARNESS_TEACHER_KEY"
    """Environment variable that holds the server's key."""
    samples: Annotated[int, Field(ge=1)] = 4
    """Answers sampled for each row."""
    temperature: Annotated[float, Field(ge=0)] = 0.7
    """Their temperature; the first one is greedy."""
    prompt: Literal["best", "raw"] = "best"
    """Under which prompt it answers: the best one that the search found for the base model, or the task's own."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Longest answer, where it needs more than the task's (a teacher that reasons)."""
    keep: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Least score by the task's first metric of an answer that is learned from (rejection sampling)."""
    most: Annotated[int, Field(ge=1)] = 1
    """Kept answers a row at most, different ones."""
    with_gold: bool = True
    """Whether a row without a kept answer is learned from its gold answer."""


class FeedbackSpec(PartSpec):
    """Preference pairs by an AI judge under a written constitution (RLAIF; Bai et al. 2022)."""

    constitution: str
    """File with the principles, one a paragraph."""
    url: str | None = None
    """An OpenAI-compatible server of the judge; None: `model` is a local model."""
    model: str = "base"
    """The judge's name there, or a local model; `base`: the base model itself."""
    api_key_env: str = "HARNESS_FEEDBACK_KEY"
    """Environment variable that holds the server's key."""
    samples: Annotated[int, Field(ge=2)] = 4
    """Answers of the base model that are sampled for each row and compared pairwise, both orders."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Their temperature."""


class SweepSpec(PartSpec):
    """A search over fields of `train`, by the dev score alone (optuna)."""

    fields: dict[str, Any]
    """Field to its values: a list of them, or {log: [low, high]}, {uniform: [low, high]}, {int: [low, high]}."""
    trials: Annotated[int, Field(ge=1)] = 20
    """Trainings at most."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Time budget; None for none."""
    prune: bool = True
    """Whether trials that do worse than the median at the same step are stopped."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the search and of every trial's training."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        """`sweep: {learning_rate: {log: [1e-5, 1e-3]}, trials: 8}`: what is no key of a sweep is a field of `train`."""
        if not isinstance(given, dict) or "fields" in given:
            return given
        own = {key: value for key, value in given.items() if key in cls.model_fields}
        return {**own, "fields": {key: value for key, value in given.items() if key not in own}}

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.fields:
            raise ValueError("names no field of train to search over, e.g. learning_rate: {log: [1e-5, 1e-3]}")
        return self


class ClassifierSpec(PartSpec):
    """A head over the base model that names one of the train rows' answers: a cheap rival for closed sets."""

    body: Literal["lora", "frozen"] = "lora"
    """`lora`: an adapter in the base model is trained with the head; `frozen`: the head alone, over features of the
    base model as it is."""


class ManagedSpec(PartSpec):
    """A fine-tuning job at a service, through its own Python package."""

    service: Literal["openai", "together", "fireworks", "compatible"] = "openai"
    """Which; `compatible` is any service with OpenAI's calls for files and fine-tuning, at `url`."""
    model: str | None = None
    """Name of the base model there; by default that of `model: openai:NAME`."""
    url: str | None = None
    """Address of the service's API; by default its own."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable that holds the key; by default OPENAI_API_KEY, TOGETHER_API_KEY, FIREWORKS_API_KEY, and
    HARNESS_API_KEY for `compatible`. The key itself is written nowhere."""
    account: str | None = None
    """Account at Fireworks; by default FIREWORKS_ACCOUNT_ID."""
    suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,18}$")] | None = None
    """Put into the tuned model's name there."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """Passed on to the service by its own names, e.g. {n_epochs: 3, batch_size: 8, learning_rate_multiplier: 2}."""
    poll: Annotated[float, Field(gt=0)] = 10.0
    """Seconds between looks at the job."""
    price_per_million_tokens: Annotated[float, Field(ge=0)] | None = None
    """What a million trained tokens cost, in the currency of `budget`."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """Most that all seeds together may cost by the forecast; no job is started above it. Needs the price, and the
    number of epochs among the hyperparameters."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.service == "compatible" and not self.url:
            raise ValueError("url: is missing; a compatible service is asked at its own address, https://.../v1")
        if self.url and (fault := _url_fault(self.url)):
            raise ValueError(f"url: {fault}")
        if self.account and self.service != "fireworks":
            raise ValueError(f"account: only fireworks has one in its addresses, and the service is {self.service}")
        if self.max_cost is not None and self.price_per_million_tokens is None:
            raise ValueError("max_cost: needs price_per_million_tokens, by which the forecast is made")
        if self.max_cost is not None and not isinstance(self.epochs, int | float):
            raise ValueError(f"max_cost: needs the number of epochs; state hyperparameters.{self.epochs_key}")
        return self

    @property
    def epochs_key(self) -> str:
        """What the service calls the number of passes over the rows."""
        return "epochs" if self.service == "fireworks" else "n_epochs"

    @property
    def epochs(self) -> Any:
        """Passes over the rows as they are stated; None where the service decides."""
        return self.hyperparameters.get(self.epochs_key)


def _url_fault(url: str) -> str:
    """Why this is no address of an API, or empty. One that holds a password is not repeated."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        return "holds a user name or password; leave it out, and put the key into its environment variable"
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        return f"{url!r} is not the http or https address of an API"
    return ""
