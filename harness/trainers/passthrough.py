"""Arguments that a user passes through to TRL and PEFT, held against the installed versions before anything starts.

The fields are read off the libraries' source, so that a typo is told without importing torch.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from harness.errors import Problem
from harness.trainers.spec import ELSEWHERE, Method, Objective, TrainSpec

CLASSES: Final[Mapping[str, tuple[str, str]]] = {
    "TrainingArguments": ("transformers", "training_args.py"),
    "_BaseConfig": ("trl", "trainer/base_config.py"),
    "SFTConfig": ("trl", "trainer/sft_config.py"),
    "DPOConfig": ("trl", "trainer/dpo_config.py"),
    "KTOConfig": ("trl", "trainer/kto_config.py"),
    "GRPOConfig": ("trl", "trainer/grpo_config.py"),
    "ORPOConfig": ("trl", "experimental/orpo/orpo_config.py"),
    "PeftConfigMixin": ("peft", "config.py"),
    "PeftConfig": ("peft", "config.py"),
    "PromptLearningConfig": ("peft", "config.py"),
    "LoraConfig": ("peft", "tuners/lora/config.py"),
    "IA3Config": ("peft", "tuners/ia3/config.py"),
    "PromptTuningConfig": ("peft", "tuners/prompt_tuning/config.py"),
    "PrefixTuningConfig": ("peft", "tuners/prefix_tuning/config.py"),
    "AdaptionPromptConfig": ("peft", "tuners/adaption_prompt/config.py"),
}
"""A configuration's class to its package and file there."""

OF_OBJECTIVE: Final[Mapping[Objective, str]] = {
    "sft": "SFTConfig", "dpo": "DPOConfig", "orpo": "ORPOConfig", "kto": "KTOConfig", "grpo": "GRPOConfig",
}  # fmt: skip
OF_METHOD: Final[Mapping[Method, str]] = {
    "lora": "LoraConfig", "rslora": "LoraConfig", "dora": "LoraConfig", "pissa": "LoraConfig", "loftq": "LoraConfig",
    "qlora": "LoraConfig", "classifier": "LoraConfig", "ia3": "IA3Config", "prompt_tuning": "PromptTuningConfig",
    "prefix_tuning": "PrefixTuningConfig", "adaption_prompt": "AdaptionPromptConfig",
}  # fmt: skip

_RUN = "the harness keeps its own order of the run"
_SERVED = "it would train on something else than is served"
_ONE = "one training runs on one device"
_DEV = "train.select looks at dev"

OWN: Final[Mapping[str, str]] = {
    "per_device_train_batch_size": "train.batch_size or train.micro_batch_size",
    "auto_find_batch_size": "train.batch_size or train.micro_batch_size",
    "gradient_accumulation_steps": "train.batch_size and train.micro_batch_size",
    "learning_rate": "train.learning_rate",
    "num_train_epochs": "train.epochs",
    "max_steps": "train.max_steps",
    "lr_scheduler_type": "train.schedule",
    **dict.fromkeys(("warmup_steps", "warmup_ratio"), "train.warmup"),
    "weight_decay": "train.weight_decay",
    "max_grad_norm": "train.max_grad_norm",
    "max_length": "train.max_length",
    **dict.fromkeys(("seed", "data_seed"), "train.seeds"),
    "save_steps": "train.save_steps",
    **dict.fromkeys(("activation_checkpointing", "gradient_checkpointing"), "train.gradient_checkpointing"),
    "report_to": "train.report_to",
    "num_generations": "train.reward.generations",
    "temperature": "train.reward.temperature",
    "max_completion_length": "task.max_tokens",
}  # fmt: skip
"""Arguments of TRL that the harness sets, and the key of the experiment that says to what."""

REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("output_dir", "save_strategy", "save_total_limit", "save_only_model", "resume_from_checkpoint", "do_train",
         "train_sampling_strategy", "shuffle_dataset", "ignore_data_skip", "disable_tqdm", "logging_nan_inf_filter",
         "log_level", "save_on_each_node", "enable_jit_checkpoint", "full_determinism", "dataloader_drop_last",
         "remove_unused_columns", "restore_callback_states_from_checkpoint", "generation_batch_size",
         "steps_per_generation"), _RUN),
    **dict.fromkeys(
        ("packing", "packing_strategy", "completion_only_loss", "assistant_only_loss", "truncation_mode",
         "chat_template_path", "eos_token", "pad_token", "dataset_text_field", "dataset_kwargs", "label_names",
         "model_init_kwargs", "trust_remote_code", "chat_template_kwargs", "disable_dropout", "top_p"), _SERVED),
    **dict.fromkeys(
        ("bf16", "fp16", "use_cpu", "fsdp", "fsdp_config", "deepspeed", "parallelism_config", "local_rank",
         "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend",
         "ddp_timeout", "accelerator_config"), _ONE),
    **dict.fromkeys(
        ("do_eval", "do_predict", "eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "eval_packing",
         "per_device_eval_batch_size", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"), _DEV),
    **dict.fromkeys(
        ("push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push",
         "hub_revision", "log_completions_hub_repo"), "nothing is uploaded before its verdict"),
}  # fmt: skip
"""Arguments of TRL that would undo what the harness promises, and why."""

PREFERENCE: Final[Mapping[str, str]] = {"beta": "train.preference.beta", "loss_type": "train.preference.loss"}

PEFT_OWN: Final[Mapping[str, str]] = {
    "r": "train.rank",
    "lora_alpha": "train.alpha",
    "lora_dropout": "train.dropout",
    "target_modules": "train.target_modules",
    "num_virtual_tokens": "train.virtual_tokens",
    "adapter_len": "train.virtual_tokens",
    "use_rslora": "train.method: rslora",
    "use_dora": "train.method: dora",
    "init_lora_weights": "train.method: pissa or loftq",
    **dict.fromkeys(("task_type", "peft_type", "inference_mode", "base_model_name_or_path", "revision", "auto_mapping",
                     "peft_version"), "nothing: the harness keeps it"),
}  # fmt: skip
"""Arguments of PEFT that the harness sets, and the key of the experiment that says to what."""

SWITCHED_OFF: Final[Mapping[str, str]] = {"wandb": "WANDB_DISABLED", "mlflow": "DISABLE_MLFLOW_INTEGRATION"}
"""Tracker to the variable by which transformers takes it for one that is not installed."""


def problems(spec: TrainSpec, file: str = "") -> Iterator[Problem]:
    """Arguments that the installed TRL or PEFT lacks, that the harness sets or refuses, and trackers not installed."""
    at = f"{file}: train" if file else "train"
    if spec.method in ELSEWHERE:
        for key in ("args", "peft_args", "report_to"):
            if getattr(spec, key):
                what = f"has no effect with method: {spec.method}, which trains elsewhere"
                yield Problem(f"{at}.{key}", what, next="Leave it out")
        return
    yield from _of_trl(spec, f"{at}.args")
    yield from _of_peft(spec, f"{at}.peft_args")
    for name in spec.report_to:
        off = SWITCHED_OFF.get(name, "")
        if not importlib.util.find_spec(name):
            yield Problem(
                f"{at}.report_to", f"{name!r} is not installed", next=f"pip install 'finetune-harness[{name}]'"
            )
        elif os.environ.get(off, "").upper() in ("1", "ON", "YES", "TRUE"):
            yield Problem(
                f"{at}.report_to", f"{name!r} is switched off by {off}", next=f"Unset it, or leave {name} out"
            )


def _of_trl(spec: TrainSpec, at: str) -> Iterator[Problem]:
    own = dict(OWN)
    if spec.objective in ("dpo", "orpo", "kto"):
        own |= PREFERENCE
    elif spec.objective == "grpo":
        own["beta"] = "train.reward.beta"
    yield from _told(spec.args, own, REFUSED, OF_OBJECTIVE[spec.objective], at)


def _of_peft(spec: TrainSpec, at: str) -> Iterator[Problem]:
    if not spec.peft_args:
        return
    name = OF_METHOD.get(spec.method)
    if name is None:
        yield Problem(at, f"method {spec.method} has no adapter to configure", next="Leave it out")
        return
    own = {key: value for key, value in PEFT_OWN.items() if key != "init_lora_weights"}
    changes = spec.peft_args.get("init_lora_weights", True)
    if spec.method in ("pissa", "loftq") or changes not in (True, "gaussian", "orthogonal"):
        own["init_lora_weights"] = PEFT_OWN["init_lora_weights"]
    yield from _told(spec.peft_args, own, {}, name, at)


def _told(
    given: Mapping[str, Any], own: Mapping[str, str], refused: Mapping[str, str], name: str, at: str
) -> Iterator[Problem]:
    package, _ = CLASSES[name]
    known = fields_of(name) if given else {}
    for key, value in given.items():
        where = f"{at}.{key}"
        if key in own:
            yield Problem(where, "is set by the harness itself", next=f"Give {own[key]}")
        elif key in refused:
            yield Problem(where, f"is not passed on: {refused[key]}", next="Leave it out")
        elif known and key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            allowed = f"Did you mean {near[0]!r}?" if near else ""
            what = f"the installed {package} has no such argument of {name}"
            yield Problem(where, what, allowed, f"Its documentation lists the fields of {package}.{name}")
        elif known and not _fits(value, known[key]):
            yield Problem(where, f"got {value!r}", f"{package}.{name} takes {known[key]}")


SIMPLE: Final[Mapping[str, tuple[type, ...]]] = {
    "float": (int, float), "int": (int,), "bool": (bool,), "str": (str,), "dict": (dict,), "list": (list, tuple),
    "None": (type(None),),
}  # fmt: skip


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value is of a field's type, as far as that is made of simple ones; the library says the rest."""
    text = annotation.replace("Optional[", "None | ").replace("Union[", "").replace(",", "|")
    names = {part.split("[")[0].strip(" ]") for part in text.split("|")}
    if not names <= SIMPLE.keys():
        return True
    if isinstance(value, bool) and "bool" not in names:
        return False
    return any(isinstance(value, kind) for name in names for kind in SIMPLE[name])


@functools.cache
def fields_of(name: str) -> Mapping[str, str]:
    """Fields of a configuration class with their annotations, its bases' included; empty when it is not installed."""
    package, file = CLASSES[name]
    found = importlib.util.find_spec(package)
    path = Path(next(iter(found.submodule_search_locations or ()), "")) / file if found else None
    if path is None or not path.is_file():
        return {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in CLASSES:
                    known |= fields_of(base.id)
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _can_be_given(field):
                    known[field.target.id] = ast.unparse(field.annotation)
    return known


def _can_be_given(field: ast.AnnAssign) -> bool:
    """Whether a dataclass field is an argument: not those of field(init=False)."""
    if not isinstance(field.value, ast.Call):
        return True
    return not any(
        word.arg == "init" and isinstance(word.value, ast.Constant) and word.value.value is False
        for word in field.value.keywords
    )
