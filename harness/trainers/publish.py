"""Publishing: what was trained is looked at, cleared of traces of this machine and put in its place by content."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from harness import artifacts
from harness.errors import Problem, StoreError, TrainingError
from harness.models import LocalModel, code
from harness.models.folder import counts
from harness.records import AdapterRef, Prompt
from harness.trainers.base import Job
from harness.trainers.parameters import INITIAL

PROMPT_FILE = "prompt.json"
"""Beside the weights: the prompt that they were trained under, which is the one to serve them under."""

INERT: Final[Mapping[str, tuple[float, str]]] = {
    "lora_B": (0.0, "B matrices of the adapter are zero"),
    "ia3_l": (1.0, "factors of the adapter are one"),
    "adaption_gate": (0.0, "gates of the adapter are zero"),
}
"""Part of a parameter's name: its value where the adapter does nothing, and how that is told."""

VLLM_LORA: Final = frozenset({
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
    "init_lora_weights", "use_rslora", "fan_in_fan_out", "task_type", "peft_type", "peft_version", "revision",
    "auto_mapping", "base_model_name_or_path", "inference_mode", "loftq_config",
})  # fmt: skip
"""What of PEFT's LoRA configuration may differ from its default in an adapter that every engine serves as it is."""


def folder_of(adapter: AdapterRef) -> Path:
    """Where an adapter or a whole model lies, or would lie."""
    return artifacts.folder("models" if adapter.kind == "model" else "adapters", adapter.digest)


def weights_of(adapter: AdapterRef, where: str) -> Path:
    """Where its weights lie, looked at byte by byte. where: whose they are, for messages.

    Raises StoreError where they are gone, or are not those that were judged.
    """
    path = folder_of(adapter)
    if not path.is_dir():
        hint = "Point HARNESS_HOME to where it was trained, or copy the folder from there"
        raise StoreError(Problem(where, f"its weights are gone: no {path}", next=hint))
    if artifacts.digest_folder(path) != adapter.digest:
        raise StoreError(
            Problem(where, f"its weights are not those that were judged: {path}", next="Restore the folder")
        )
    return path


def initial(model: Any) -> dict[str, Any] | None:
    """A copy of the weights that are trained, before the first step.

    None where they are the model's own: those lie in its folder, and a copy would double the memory.
    """
    if not hasattr(model, "peft_config"):
        return None
    return {name: weights.detach().clone() for name, weights in _trained(model).items()}


def check_adapter(model: Any, before: Mapping[str, Any] | None = None) -> None:
    """Raise TrainingError when trained weights are not numbers, do nothing, or are what they were before."""
    import torch

    trained = _trained(model)
    if not all(bool(weights.isfinite().all()) for weights in trained.values()):
        what = "the adapter holds values that are not numbers"
        raise TrainingError(Problem("train", what, next="Lower train.learning_rate, or check the base model"))
    hint = "Raise train.learning_rate, epochs or max_steps"
    for part, (value, told) in INERT.items():
        acting = [weights for name, weights in trained.items() if part in name]
        if acting and not any(bool((weights != value).any()) for weights in acting) and not _others(trained, part):
            what = f"nothing was learned: all {told}, so it does nothing"
            raise TrainingError(Problem("train", what, next=hint))
    if before and all(name in before and torch.equal(before[name], now) for name, now in trained.items()):
        what = "nothing was learned: all trained weights are what they were before the first step"
        raise TrainingError(Problem("train", what, next=hint))


def _trained(model: Any) -> dict[str, Any]:
    return {name: weights for name, weights in model.named_parameters() if weights.requires_grad}


def _others(trained: Mapping[str, Any], part: str) -> bool:
    """Whether something is trained that acts by itself: layers trained whole, embeddings, DoRA's magnitudes."""
    own = ("lora_A", "lora_B", "adaption_prompt", part)
    return any(not any(each in name for each in own) for name in trained)


def _check_whole(model: Any, base: Path) -> None:
    """Raise TrainingError for a model whose every weight is what it was in its folder."""
    import torch
    from safetensors import safe_open

    now = model.state_dict()
    for file in sorted(base.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118  it is no mapping
                if name in now and not torch.equal(stored.get_tensor(name).float(), now[name].cpu().float()):
                    return
    what = "nothing was learned: all weights are those of the base model"
    raise TrainingError(Problem("train", what, next="Raise train.learning_rate, epochs or max_steps"))


def publish(model: Any, job: Job, folder: Path, dtype: str, before: Mapping[str, Any] | None = None) -> AdapterRef:
    """Save what was trained by content, with its prompt; paths of this machine are taken out.

    A whole model is published with the base model's tokenizer and chat template, its weights in `dtype`, the number
    type that they were trained under. What LoftQ made is one too: its base model is not the one that is served.
    before: the trained weights as they began, from `initial`.
    """
    check_adapter(model, before)
    staging = folder / "adapter"
    shutil.rmtree(staging, ignore_errors=True)
    if before is None and not hasattr(model, "peft_config"):
        _check_whole(model, job.model.path)
        save_model(model, job.model, staging, dtype)
        kind: _Kind = "model"
    elif job.spec.method == "loftq":
        save_model(model.merge_and_unload(), job.model, staging, dtype)
        kind = "model"
    else:
        kind = _save_adapter(model, job, folder, staging)
    (staging / PROMPT_FILE).write_text(job.prompt.model_dump_json(indent=1), encoding="utf-8")
    digest = artifacts.publish("models" if kind == "model" else "adapters", staging)
    return AdapterRef(digest=digest, method=job.spec.method, seed=job.seed, kind=kind)


_Kind = Literal["lora", "peft", "model", "classifier", "remote"]


def save_model(model: Any, base: LocalModel, staging: Path, dtype: str) -> None:
    """Write a whole model to a new folder, beside the base model's tokenizer and chat template.

    Raises StoreError, with nothing left behind, when it cannot be written.
    """
    import torch
    from safetensors import SafetensorError

    model.to(getattr(torch, dtype))
    try:
        model.save_pretrained(str(staging), safe_serialization=True)
    except (OSError, SafetensorError) as fault:
        shutil.rmtree(staging, ignore_errors=True)
        hint = "Free some disk where HARNESS_HOME lies and run again"
        raise StoreError(Problem(str(staging), f"the model cannot be written: {fault}", next=hint)) from fault
    for name in ("README.md", "generation_config.json"):  # nothing is taken from either
        (staging / name).unlink(missing_ok=True)
    for file in sorted(base.path.iterdir()):
        own = file.suffix == ".safetensors" or file.name in ("config.json", PROMPT_FILE)
        wanted = counts(file.name) or (base.ref.remote_code and code.counts(file.name))
        if wanted and not own and not file.name.endswith(".safetensors.index.json"):
            shutil.copyfile(file, staging / file.name)
    config_path = staging / "config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    config_path.write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")


def _save_adapter(model: Any, job: Job, folder: Path, staging: Path) -> _Kind:
    more: dict[str, Any] = {"selected_adapters": ["default"]}  # objectives may hold the reference in another one
    if job.spec.method == "pissa":
        more["path_initial_model_for_weight_conversion"] = str(folder / INITIAL)
    model.save_pretrained(str(staging), safe_serialization=True, **more)
    (staging / "README.md").unlink(missing_ok=True)
    config_path = staging / "adapter_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = job.model.ref.name
    for key in ("target_modules", "exclude_modules", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key].sort()  # PEFT writes a set in random order; content decides the digest
    config_path.write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    return "lora" if is_plain_lora(config) else "peft"


def is_plain_lora(config: Mapping[str, Any]) -> bool:
    """Whether an adapter's configuration is of a LoRA that every engine serves beside the base model as it is."""
    if config.get("peft_type") != "LORA":
        return False
    return not any(name not in VLLM_LORA for name in _unlike_default(config))


def _unlike_default(config: Mapping[str, Any]) -> Iterator[str]:
    from peft import LoraConfig

    default = json.loads(json.dumps(LoraConfig().to_dict(), default=str))
    for name, value in config.items():
        if value != default.get(name) and (value or default.get(name)):
            yield name


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
