"""Going on from an adapter: it is put on the base model as it lies, and trained further."""

from __future__ import annotations

import json
from typing import Any, Final

from harness import artifacts
from harness.errors import Problem, TrainingError
from harness.trainers.base import Job
from harness.trainers.spec import Method

CONTINUED: Final[frozenset[Method]] = frozenset({"lora", "rslora", "dora", "qlora"})
"""Methods under which an adapter can be gone on from: those of LoRA whose base model stays what it was."""


def started(base: Any, job: Job) -> Any:
    """The base model with the job's adapter on it, to be trained further.

    Raises TrainingError when its shape is not the spec's: what a training is told by would not be what it did.
    """
    from peft import PeftModel

    assert job.start is not None  # noqa: S101  callers looked
    folder = artifacts.folder("adapters", job.start.digest)
    _check(job, json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")))
    return PeftModel.from_pretrained(base, str(folder), is_trainable=True)


def _check(job: Job, config: dict[str, Any]) -> None:
    spec = job.spec
    if spec.method not in CONTINUED or config.get("peft_type") != "LORA":
        what = f"a {str(config.get('peft_type')).lower()} adapter cannot be gone on from with method {spec.method}"
        raise TrainingError(Problem("train.start", what, f"LoRA with {', '.join(sorted(CONTINUED))}"))
    wanted = {
        "r": ("rank", spec.rank),
        "lora_alpha": ("alpha", spec.scaling_alpha),
        "use_rslora": ("method", spec.method == "rslora"),
        "use_dora": ("method", spec.method == "dora"),
    }
    problems = [
        Problem(f"train.{key}", f"train.start has {name} {config.get(name)}, not {value}", next=_fit(key, config))
        for name, (key, value) in wanted.items()
        if config.get(name, value) != value
    ]
    if problems:
        raise TrainingError(problems)


def _fit(key: str, config: dict[str, Any]) -> str:
    if key == "method":
        kinds = {"rslora": config.get("use_rslora"), "dora": config.get("use_dora")}
        return f"Set train.method: {next((name for name, on in kinds.items() if on), 'lora')}"
    return f"Set train.{key}: {config['r'] if key == 'rank' else config['lora_alpha']:g}"
