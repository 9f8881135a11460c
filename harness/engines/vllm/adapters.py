"""Adapters that vLLM would serve wrongly or not at all, refused with a reason before they are loaded.

vLLM skips weights that lie outside the modules it was told to serve, without an
error: the answers would come from another model than the one that was trained.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from harness.engines.base import Adapter
from harness.engines.vllm.flags import CPU_LORA_MODULES, Settings, server_rank
from harness.errors import EngineError


def check_adapter(adapter: Adapter, settings: Settings) -> None:
    """Raise EngineError when this server cannot serve the adapter as it was trained."""
    folder = Path(adapter.path)
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = tensor_names(folder / "adapter_model.safetensors")
    except (OSError, ValueError, struct.error) as error:
        raise EngineError(f"the adapter {adapter.name!r} cannot be read: {error}.") from error
    faults = [*_config_faults(config, settings), *_module_faults(tensors, settings)]
    if faults:
        raise EngineError(
            f"vLLM cannot serve the adapter {adapter.name!r} as it was trained: {'; '.join(faults)}. "
            "Serve it with `engine: transformers`, or merge it into the model."
        )


def adapter_rank(folder: Path) -> int:
    """The highest rank that an adapter has anywhere. Raises EngineError for a folder that holds none."""
    try:
        return _rank(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise EngineError(f"the adapter at {folder} cannot be read: {error}.") from error


def _rank(config: dict[str, Any]) -> int:
    return max([int(config.get("r") or 0), *(int(rank) for rank in (config.get("rank_pattern") or {}).values())])


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a safetensors file, from its header alone."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > path.stat().st_size:
            raise ValueError(f"{path.name} is not a safetensors file")
        return [name for name in json.loads(file.read(size)) if name != "__metadata__"]


def _config_faults(config: dict[str, Any], settings: Settings) -> list[str]:
    faults = []
    if config.get("peft_type") != "LORA":
        faults.append(f"its type is {config.get('peft_type')}, and only LORA is served")
    if config.get("use_dora"):
        faults.append("it uses DoRA")
    if config.get("modules_to_save"):
        faults.append(f"it carries whole modules ({', '.join(config['modules_to_save'])})")
    rank = _rank(config)
    if rank > server_rank(settings.adapter_rank):
        faults.append(f"its rank is {rank}, and the server was started for {server_rank(settings.adapter_rank)}")
    return faults


def _module_faults(tensors: list[str], settings: Settings) -> list[str]:
    if settings.device != "cpu":
        return []
    modules = {name.rsplit(".lora_", 1)[0].rsplit(".", 1)[-1] for name in tensors}
    skipped = sorted(modules - set(CPU_LORA_MODULES))
    return [f"on a CPU vLLM would silently skip its weights on {', '.join(skipped)}"] if skipped else []
