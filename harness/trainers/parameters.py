"""Which weights are trained: PEFT's configuration for each method that has one, put on the base model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from harness.trainers.spec import Method, TrainSpec

INITIAL = "initial"
"""Folder in a training's workspace that holds PiSSA's adapter as it began."""

BASE_CHANGES: Final[frozenset[Method]] = frozenset({"pissa", "loftq", "full"})
"""Methods under which the base model is no longer what it was, so that switching the adapter off does not give it."""


def adapted(base: Any, spec: TrainSpec, folder: Path) -> tuple[Any, Any]:
    """The base model as the method trains it, and PEFT's configuration for TRL to put on it.

    The configuration is None where nothing is left to put: the model's own weights are trained, or the method's
    adapter is on it already, because its initialisation changes the base model (then the reference model of a
    preference is that adapter as it began, not the adapter switched off).
    folder: the training's workspace. Raises ValueError for layers that the model does not have.
    """
    make = CONFIGS[spec.method]
    config = None if make is None else make(spec, base)
    if config is None or spec.method not in BASE_CHANGES:
        return base, config
    from peft import get_peft_model

    if spec.method == "loftq" and next(base.parameters()).device.type == "cpu":
        config.init_lora_weights, asked = True, config.loftq_config
        model = get_peft_model(base, config)
        _loftq_on_cpu(model, asked["loftq_bits"], asked["loftq_iter"])
        return model, None
    model = get_peft_model(base, config)
    if spec.method == "pissa":
        model.save_pretrained(str(folder / INITIAL), safe_serialization=True)
    return model, None


def settle(model: Any) -> None:
    """What TRL's trainer leaves to be done on its model before the first step."""
    for weights in model.parameters():
        if weights.requires_grad:  # TRL makes them bfloat16 on a quantised base, PEFT float32 again when it resumes
            weights.data = weights.data.float()
    inner = getattr(model, "base_model", None)
    if inner is not None and "forward" in vars(inner):
        # adaption_prompt keeps the base's, from before TRL put its own head on
        inner.forward = model.get_base_model().forward


def _lora(spec: TrainSpec, base: Any, **more: Any) -> Any:
    from peft import LoraConfig

    own = {
        "r": spec.rank,
        "lora_alpha": spec.scaling_alpha,
        "lora_dropout": spec.dropout,
        "target_modules": _targets(spec),
        "task_type": "CAUSAL_LM",
    }
    return LoraConfig(**own | more | spec.peft_args)


def _rslora(spec: TrainSpec, base: Any) -> Any:
    return _lora(spec, base, use_rslora=True)


def _dora(spec: TrainSpec, base: Any) -> Any:
    return _lora(spec, base, use_dora=True)


def _pissa(spec: TrainSpec, base: Any) -> Any:
    return _lora(spec, base, init_lora_weights="pissa_niter_16")


def _loftq(spec: TrainSpec, base: Any) -> Any:
    own = {"loftq_bits": spec.bits, "loftq_iter": 5} | spec.peft_args.get("loftq_config", {})
    plain = {name: value for name, value in spec.peft_args.items() if name != "loftq_config"}
    return _lora(spec.model_copy(update={"peft_args": plain}), base, init_lora_weights="loftq", loftq_config=own)


def _ia3(spec: TrainSpec, base: Any) -> Any:
    from peft import IA3Config

    # The paper rescales keys, values and the inner activations; PEFT knows their names in each architecture.
    own = {"target_modules": None if spec.target_modules == "all-linear" else _targets(spec), "task_type": "CAUSAL_LM"}
    return IA3Config(**own | spec.peft_args)


def _prompt_tuning(spec: TrainSpec, base: Any) -> Any:
    from peft import PromptTuningConfig

    own = {"num_virtual_tokens": spec.virtual_tokens, "task_type": "CAUSAL_LM", "prompt_tuning_init": "SAMPLE_VOCAB"}
    return PromptTuningConfig(**own | spec.peft_args)


def _prefix_tuning(spec: TrainSpec, base: Any) -> Any:
    from peft import PrefixTuningConfig

    own = {"num_virtual_tokens": spec.virtual_tokens, "task_type": "CAUSAL_LM", "init_weights": "zero"}
    return PrefixTuningConfig(**own | spec.peft_args)


def _adaption_prompt(spec: TrainSpec, base: Any) -> Any:
    from peft import AdaptionPromptConfig

    layers = base.config.get_text_config().num_hidden_layers
    own = {"adapter_len": spec.virtual_tokens, "adapter_layers": max(1, layers - 2), "task_type": "CAUSAL_LM"}
    return AdaptionPromptConfig(**own | spec.peft_args)


def _targets(spec: TrainSpec) -> Any:
    return spec.target_modules if isinstance(spec.target_modules, str) else list(spec.target_modules)


CONFIGS: Final[dict[Method, Callable[[TrainSpec, Any], Any] | None]] = {
    "lora": _lora,
    "rslora": _rslora,
    "dora": _dora,
    "pissa": _pissa,
    "loftq": _loftq,
    "ia3": _ia3,
    "prompt_tuning": _prompt_tuning,
    "prefix_tuning": _prefix_tuning,
    "adaption_prompt": _adaption_prompt,
    "qlora": _lora,
    "full": None,
}
"""Method to what makes its configuration for a base model."""


def _loftq_on_cpu(model: Any, bits: int, iterations: int) -> None:
    """LoftQ's alternating steps (Li et al. 2023, algorithm 1) where PEFT's own need a GPU; its parts are theirs.

    Each adapted layer's weight becomes its quantised value, and its adapter begins at the rest's best low rank.
    """
    import torch
    from peft.tuners.lora import LoraLayer
    from peft.utils.loftq_utils import _low_rank_decomposition

    with torch.no_grad():
        for layer in model.modules():
            if not isinstance(layer, LoraLayer):
                continue
            weight = layer.get_base_layer().weight
            left, right = torch.zeros(1), torch.zeros(1)
            whole = weight.data.float()
            rest = whole
            for _ in range(iterations):
                quantised = _rounded(rest, bits)
                found = _low_rank_decomposition(whole - quantised, reduced_rank=layer.r["default"])
                left, right = found["L"], found["R"]
                rest = whole - left @ right
            weight.data = quantised.to(weight.dtype)
            layer.lora_A["default"].weight.data = right.contiguous()
            layer.lora_B["default"].weight.data = left.contiguous()


def _rounded(weight: Any, bits: int) -> Any:
    """A weight as bitsandbytes' 4-bit NF4 or 8-bit form gives it back."""
    from bitsandbytes import functional

    if bits == 4:
        packed, state = functional.quantize_4bit(weight.contiguous(), quant_type="nf4")
        return functional.dequantize_4bit(packed, state)
    packed, scale, _ = functional.int8_vectorwise_quant(weight.half())
    return functional.int8_vectorwise_dequant(packed, scale)
