"""Training: one protocol, a table of methods, weights by content under HARNESS_HOME."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from harness.data import Split
from harness.errors import Problem, TrainingError
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import Item, Prompt, SeedTraining, Supervision
from harness.trainers.base import Method, Trainer, TrainSpec
from harness.trainers.publish import PROMPT_FILE, trained_prompt

__all__ = [
    "METHODS",
    "PROMPT_FILE",
    "Method",
    "TrainSpec",
    "Trainer",
    "require_installed",
    "train",
    "trained_prompt",
]

LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "safetensors")
"""What every method needs."""

ALSO: dict[Method, tuple[str, ...]] = {"qlora": ("bitsandbytes",)}
"""What a method needs besides."""


def _supervised(
    spec: TrainSpec, rows: Sequence[Item], prompt: Prompt, model: LocalModel, seed: int, progress: Progress
) -> tuple[SeedTraining, Supervision]:
    from harness.trainers.supervised import train_supervised

    return train_supervised(spec, rows, prompt, model, seed, progress)


METHODS: dict[Method, Trainer] = {"lora": _supervised, "qlora": _supervised}
"""Every method and who does it, in the calling process."""


def train(
    spec: TrainSpec, split: Split, prompt: Prompt, model: LocalModel, seed: int, progress: Progress
) -> tuple[SeedTraining, Supervision]:
    """Train one seed by the method that the spec names, in a process of its own. See `Trainer`.

    Raises ValueError when it is handed the test split, TrainingError for a model that only a server has. When it
    returns, that process is gone and with it all memory that it held, on the GPU too.
    """
    rows = split.to_learn_from()
    if model.remote_name is not None:
        hint = "Name the hub id or folder of its weights (model), or ask for prompts alone"
        raise TrainingError(Problem("model", f"{model.ref.name!r} is only a name at a server", next=hint))
    from harness.trainers.child import train_in_child  # not above: Python warns when it runs what the package imported

    return train_in_child(spec, rows, prompt, model, seed, progress)


def require_installed(method: Method) -> None:
    """Raise TrainingError when what the method needs is not installed; imports nothing."""
    missing = [name for name in (*LIBRARIES, *ALSO.get(method, ())) if not importlib.util.find_spec(name)]
    if missing:
        hint = "pip install 'finetune-harness[train]'"
        raise TrainingError(Problem(f"train.method {method}", f"{', '.join(missing)} not installed", next=hint))
