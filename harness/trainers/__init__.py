"""Training: one protocol, a table of methods, weights by content under HARNESS_HOME.

spec, parts      the `train` part of an experiment
base             job, scorer and the trainer protocol
child            one training in a process of its own
lifecycle        one training by TRL: taken over, resumed, followed, published
setup            base model and arguments
parameters       which weights are trained: PEFT's configuration by method
objectives       what is learned from: TRL's trainer by objective
supervision      what is really learned from, read off the tensors
passthrough      arguments for TRL and PEFT, held against what is installed
reporting        learning curves told to trackers, which `trackers` knows
publish, probing what comes out
merging          an adapter put into its base model
managed          jobs at fine-tuning services
"""

from __future__ import annotations

import importlib.util

from harness.errors import Problem, TrainingError
from harness.progress import Progress
from harness.records import SeedTraining, Supervision
from harness.trainers.base import Answered, Job, Scorer, Trainer, TrainSpec, no_scorer
from harness.trainers.kinds import beside_base, unservable
from harness.trainers.merging import Merged, merged
from harness.trainers.publish import PROMPT_FILE, folder_of, trained_prompt, weights_of
from harness.trainers.searching import trades
from harness.trainers.spec import ELSEWHERE, Method, Objective

__all__ = [
    "ELSEWHERE",
    "METHODS",
    "PROMPT_FILE",
    "Answered",
    "Job",
    "Merged",
    "Method",
    "Objective",
    "Scorer",
    "TrainSpec",
    "Trainer",
    "beside_base",
    "folder_of",
    "merged",
    "no_scorer",
    "require_installed",
    "trades",
    "train",
    "trained_prompt",
    "unservable",
    "weights_of",
]

LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "safetensors")
"""What every method needs that trains here."""

ALSO: dict[Method, tuple[str, ...]] = {"qlora": ("bitsandbytes",), "loftq": ("bitsandbytes",)}
"""What a method needs besides."""


def _by_trl(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    from harness.trainers.lifecycle import train_here

    return train_here(job, scorer, progress)


def _existing(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    from harness.trainers.existing import take_existing

    return take_existing(job, scorer, progress)


def _by_command(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    from harness.trainers.command import train_by_command

    return train_by_command(job, scorer, progress)


def _classifier(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    from harness.trainers.classifier import train_classifier

    return train_classifier(job, scorer, progress)


def _managed(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    from harness.trainers.managed import train_managed

    return train_managed(job, scorer, progress)


METHODS: dict[Method, Trainer] = {
    "lora": _by_trl,
    "rslora": _by_trl,
    "dora": _by_trl,
    "pissa": _by_trl,
    "loftq": _by_trl,
    "ia3": _by_trl,
    "prompt_tuning": _by_trl,
    "prefix_tuning": _by_trl,
    "adaption_prompt": _by_trl,
    "qlora": _by_trl,
    "full": _by_trl,
    "classifier": _classifier,
    "existing": _existing,
    "command": _by_command,
    "managed": _managed,
}
"""Every method and who does it, in the calling process."""


def train(job: Job, progress: Progress, scorer: Scorer = no_scorer) -> tuple[SeedTraining, Supervision]:
    """Train one seed by the method that the spec names, in a process of its own. See `Trainer`.

    Raises TrainingError for a model that only a server has, unless its service trains it. When it returns, that process
    is gone and with it all memory that it held, on the GPU too.
    """
    if job.spec.method == "managed":
        return METHODS["managed"](job, scorer, progress)
    if job.model.remote_name is not None:
        hint = "Name the hub id or folder of its weights (model), or ask for prompts alone"
        raise TrainingError(Problem("model", f"{job.model.ref.name!r} is only a name at a server", next=hint))
    from harness.trainers.child import train_in_child  # not above: Python warns when it runs what the package imported

    return train_in_child(job, scorer, progress)


def require_installed(spec: TrainSpec) -> None:
    """Raise TrainingError when what the method, or a sweep, needs is not installed or not set."""
    if spec.sweep is not None and not importlib.util.find_spec("optuna"):
        hint = "pip install 'finetune-harness[sweep]'"
        raise TrainingError(Problem("train.sweep", "optuna is not installed", next=hint))
    if spec.managed is not None:
        from harness.trainers.managed import unready

        if problems := list(unready(spec)):
            raise TrainingError(problems)
        return
    missing = [name for name in (*LIBRARIES, *ALSO.get(spec.method, ())) if not importlib.util.find_spec(name)]
    if missing:
        hint = "pip install 'finetune-harness[train]'"
        raise TrainingError(Problem(f"train.method {spec.method}", f"{', '.join(missing)} not installed", next=hint))
