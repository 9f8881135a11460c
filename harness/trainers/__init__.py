"""Training: one protocol, a table of methods, weights by content under HARNESS_HOME."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from harness.errors import Problem, TrainingError
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import Item, Prompt, SeedTraining, Supervision
from harness.trainers.base import Method, Trainer, TrainSpec

__all__ = ["METHODS", "Method", "TrainSpec", "Trainer", "require_installed", "train"]


def _supervised(
    spec: TrainSpec, rows: Sequence[Item], prompt: Prompt, model: LocalModel, seed: int, progress: Progress
) -> tuple[SeedTraining, Supervision]:
    from harness.trainers.supervised import train_supervised

    return train_supervised(spec, rows, prompt, model, seed, progress)


METHODS: dict[Method, Trainer] = {"lora": _supervised, "qlora": _supervised}
"""Every method and who does it."""


def train(
    spec: TrainSpec, rows: Sequence[Item], prompt: Prompt, model: LocalModel, seed: int, progress: Progress
) -> tuple[SeedTraining, Supervision]:
    """Train one seed by the method that the spec names. See `Trainer`."""
    return METHODS[spec.method](spec, rows, prompt, model, seed, progress)


def require_installed() -> None:
    """Raise TrainingError when what training needs is not installed; imports nothing."""
    missing = [
        name for name in ("torch", "transformers", "peft", "trl", "datasets") if not importlib.util.find_spec(name)
    ]
    if missing:
        hint = "pip install 'finetune-harness[train]'"
        raise TrainingError(Problem("train", f"{', '.join(missing)} not installed", next=hint))
