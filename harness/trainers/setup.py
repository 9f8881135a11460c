"""Setting up: base model, tokenizer and TRL's arguments from a spec, on one device."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from harness import machine
from harness.errors import Problem, TrainingError
from harness.models import LocalModel, turns
from harness.records import AdapterRef
from harness.trainers.base import Job, Origin
from harness.trainers.probing import Scores, read_base
from harness.trainers.publish import folder_of
from harness.trainers.spec import Method, TrainSpec

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "trl", "accelerate")
"""Packages whose version can move the weights."""


def origin(method: Method) -> Origin:
    """On what a training would run here."""
    import torch

    named = (*LIBRARIES, "bitsandbytes") if method in ("qlora", "loftq") else LIBRARIES
    packages = {name: version for name, version in machine.packages().items() if name in named}
    cuda = torch.cuda.is_available()
    return Origin(device="cuda" if cuda else "cpu", dtype="bfloat16" if cuda else "float32", packages=packages)


def steps_of(spec: TrainSpec, rows: int) -> int:
    """Optimizer steps of a training."""
    per_epoch = math.ceil(rows / spec.batch_size)
    steps = max(1, math.ceil(spec.epochs * per_epoch))
    return min(steps, spec.max_steps) if spec.max_steps else steps


def arguments(job: Job, rows: int, on: Origin, folder: Path) -> dict[str, Any]:
    """The arguments that all of TRL's configurations share. rows: how many there are to learn from."""
    spec, cuda = job.spec, on.device == "cuda"
    micro = spec.micro_batch_size or spec.batch_size
    steps = steps_of(spec, rows)
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": spec.batch_size // micro,
        "learning_rate": spec.rate,
        "max_steps": steps,
        "lr_scheduler_type": spec.schedule,
        "warmup_steps": min(math.ceil(spec.warmup * steps), steps - 1),  # the first of them has learning rate 0
        "weight_decay": spec.weight_decay,
        "max_grad_norm": spec.max_grad_norm,
        "train_sampling_strategy": "sequential",  # harness.trainers.order says in which order
        "bf16": cuda,
        "use_cpu": not cuda,
        "activation_checkpointing": spec.gradient_checkpointing,
        "seed": job.seed,
        "data_seed": job.seed,
        "save_strategy": "steps",
        "save_steps": spec.save_steps,
        "save_total_limit": 2,  # the one before stays until the newest is known to be whole
        "logging_steps": max(1, steps // 50),
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "dataloader_pin_memory": cuda,
        "report_to": list(spec.report_to) or "none",
        "run_name": f"{job.experiment or 'training'}-seed{job.seed}",
        "project": job.experiment.rpartition("--")[0] or "training",
        "disable_tqdm": True,
    }


def configured(kind: Any, spec: TrainSpec, arguments: dict[str, Any]) -> Any:
    """One of TRL's configurations: the harness's arguments, then those that the user passes through."""
    return one_device(kind(**arguments | spec.args), spec.micro_batch_size or spec.batch_size)


def one_device(made: Any, micro: int) -> Any:
    """Keep transformers from spreading a batch over all GPUs it sees, which would multiply the batch size."""
    made._n_gpu = min(1, made.n_gpu)
    if made.train_batch_size != micro or made.world_size != 1:
        what = f"would run {made.world_size} x {made.train_batch_size} rows at once where the spec says {micro}"
        hint = "Start the harness as one plain process, not under a launcher such as torchrun or accelerate"
        raise TrainingError(Problem("train", what, next=hint))
    return made


def load_base(spec: TrainSpec, model: LocalModel, on: Origin) -> tuple[Any, Any]:
    """The base model as the method trains on it, and its tokenizer, which pads with no token that is learned."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model.path), **model.safely)
    base = load_model(model.path, on, model, _quantization(spec, on) if spec.method == "qlora" else None)
    _pad_apart(tokenizer, turns.end_tokens(tokenizer, base.config.get_text_config()))
    return base, tokenizer


def load_model(path: Path, on: Origin, base: LocalModel, quantization: Any = None) -> Any:
    """A causal language model from its folder, of safetensors alone. base: the model that it is, or was made of."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        str(path),
        dtype=getattr(torch, on.dtype),
        quantization_config=quantization,
        device_map={"": 0} if on.device == "cuda" else None,
        use_safetensors=True,
        **base.safely,
    )


def with_published(base: Any, tokenizer: Any, job: Job, adapter: AdapterRef, on: Origin) -> tuple[Any, Scores | None]:
    """The base model with what an earlier training published, and the base's own probes where that is a whole model."""
    from peft import PeftModel

    if adapter.kind != "model":
        return PeftModel.from_pretrained(base, str(folder_of(adapter))), None
    return load_model(folder_of(adapter), on, job.model), read_base(base, tokenizer, job.model.context_length)


def _quantization(spec: TrainSpec, on: Origin) -> Any:
    """QLoRA's form of the base model (Dettmers et al. 2023): NF4 with double quantisation, or int8."""
    import torch
    from transformers import BitsAndBytesConfig

    if spec.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, on.dtype),
    )


def _pad_apart(tokenizer: Any, ends: Collection[int]) -> None:
    """Pad with a token that ends nothing: a pad that is the end of a turn takes that end with it when it is masked.

    Padding is masked in training and never served, so any other special token will do.
    """
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in {*ends, tokenizer.eos_token_id}:
        return
    taken = {*ends, tokenizer.eos_token_id, tokenizer.bos_token_id}
    for token in (tokenizer.unk_token, *tokenizer.all_special_tokens):
        if token is not None and tokenizer.convert_tokens_to_ids(token) not in taken:
            tokenizer.pad_token = token
            return
    if tokenizer.pad_token_id is None:  # nothing else there is; the evidence on padding decides
        tokenizer.pad_token = tokenizer.eos_token
