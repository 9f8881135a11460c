"""Training: one protocol, a table of methods, weights by content under HARNESS_HOME."""

from __future__ import annotations

from collections.abc import Sequence

from harness.models import LocalModel
from harness.progress import Progress
from harness.records import Item, Prompt, SeedTraining, Supervision
from harness.trainers.base import Method, Trainer, TrainSpec

__all__ = ["METHODS", "Method", "TrainSpec", "Trainer", "train"]


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
