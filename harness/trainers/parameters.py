"""Which weights are trained: PEFT's configuration for each method that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from harness.trainers.spec import Method, TrainSpec


def adapter_config(spec: TrainSpec) -> Any:
    """PEFT's configuration by the spec's method; None where the model's own weights are trained."""
    make = CONFIGS[spec.method]
    return None if make is None else make(spec)


def _lora(spec: TrainSpec) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha or 2 * spec.rank,
        lora_dropout=spec.dropout,
        target_modules=spec.target_modules if isinstance(spec.target_modules, str) else list(spec.target_modules),
        task_type="CAUSAL_LM",
    )


CONFIGS: Final[dict[Method, Callable[[TrainSpec], Any] | None]] = {"lora": _lora, "qlora": _lora}
"""Method to what makes its configuration."""
