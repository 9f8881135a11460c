"""What is learned from: one file an objective, each of which makes TRL's trainer for it. TRL is known here alone."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final, Protocol

from harness.records import Supervision
from harness.trainers.base import Job, Scorer
from harness.trainers.spec import Objective


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an objective is built on."""

    base: Any
    """The base model, an adapter to go on from already on it."""
    tokenizer: Any
    adapter: Any
    """PEFT's configuration of the adapter to train; None to train what is there."""
    arguments: dict[str, Any]
    """Arguments that TRL's configurations share (`harness.trainers.setup.arguments`)."""


class Builder(Protocol):
    """Makes the trainer of an objective, its rows in the order planned from the seed, and reads its evidence.

    Raises TrainingError for rows that would be cut, teach nothing, or are not what serving will send.
    """

    def __call__(self, job: Job, loaded: Loaded, scorer: Scorer) -> tuple[Any, Supervision]: ...


BUILDERS: Final[dict[Objective, str]] = {"sft": "sft", "dpo": "dpo", "orpo": "orpo", "kto": "kto", "grpo": "grpo"}
"""Objective to its module here; it has a function `build`."""


def builder(objective: Objective) -> Builder:
    """The builder of an objective."""
    build: Builder = importlib.import_module(f"{__name__}.{BUILDERS[objective]}").build
    return build
