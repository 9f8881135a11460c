"""Publishing: a trained adapter is looked at, cleared of traces of this machine and put in its place by content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from harness import artifacts
from harness.errors import Problem, TrainingError
from harness.records import AdapterRef, Prompt
from harness.trainers.base import Job

PROMPT_FILE = "prompt.json"
"""Beside the weights: the prompt that they were trained under, which is the one to serve them under."""


def check_adapter(model: Any) -> None:
    """Raise TrainingError when trained weights are not numbers, or are what they were: LoRA's B begins at zero."""
    trained = {name: weights for name, weights in model.named_parameters() if weights.requires_grad}
    if not all(bool(weights.isfinite().all()) for weights in trained.values()):
        what = "the adapter holds values that are not numbers"
        raise TrainingError(Problem("train", what, next="Lower train.learning_rate, or check the base model"))
    grown = [weights for name, weights in trained.items() if "lora_B" in name]
    if not any(bool(weights.any()) for weights in grown):
        what = "nothing was learned: all B matrices of the adapter are zero, so it does nothing"
        raise TrainingError(Problem("train", what, next="Raise train.learning_rate, epochs or max_steps"))


def publish(model: Any, job: Job, folder: Path) -> AdapterRef:
    """Save adapter weights, config and prompt by content; paths of this machine are taken out of the config."""
    check_adapter(model)
    staging = folder / "adapter"
    shutil.rmtree(staging, ignore_errors=True)
    model.save_pretrained(str(staging), safe_serialization=True)
    (staging / "README.md").unlink(missing_ok=True)
    config_path = staging / "adapter_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = job.model.ref.name
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()  # PEFT writes a set in random order; content decides the digest
    config_path.write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    (staging / PROMPT_FILE).write_text(job.prompt.model_dump_json(indent=1), encoding="utf-8")
    return AdapterRef(digest=artifacts.publish("adapters", staging), method=job.spec.method, seed=job.seed)


def trained_prompt(adapter: Path) -> Prompt | None:
    """The prompt that an adapter's folder was trained under; None for an adapter that was not trained here.

    Raises TrainingError when it cannot be read.
    """
    path = adapter / PROMPT_FILE
    if not path.exists():
        return None
    try:
        return Prompt.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        hint = "Restore it from training.json of its experiment (`prompt`)"
        raise TrainingError(Problem(str(path), "is no prompt of this program", next=hint)) from fault
