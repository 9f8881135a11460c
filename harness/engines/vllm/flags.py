"""How a vLLM server is started: its flags and its environment. The only file that knows them.

Two faults of vLLM's LoRA path on a CPU decide flags here: see `server_command`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.errors import EngineError, did_you_mean
from harness.models import LocalModel

BASE: Final = "harness-base"
"""Name by which the server knows the base model."""
MODULE: Final = "vllm.entrypoints.openai.api_server"
"""Started as a module: the `vllm` command refuses to start from the CPU build's wheel."""
RANKS: Final = (8, 16, 32, 64, 128, 256, 512)
"""LoRA ranks that a server can be started with."""
CPU_LORA_MODULES: Final = [
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    *("qkv_proj", "gate_up_proj"),  # vLLM's own fused modules
]
"""Where an adapter may lie on a CPU. With lm_head, concurrent log-probabilities kill the engine."""
LONGEST_CONTEXT: Final = 8192
"""Context bound when none is asked for: the key-value cache is paid for in memory."""
CACHE: Final = "VLLM_CPU_KVCACHE_SPACE"
"""Variable that states the key-value cache of a CPU server; the user's own stands."""
KEY_VARIABLE: Final = "VLLM_API_KEY"
"""Variable from which vLLM takes the key that askers must know: it stands in no file and on no command line."""
SPEC_KEYS: Final = {"dtype": "dtype", "max-model-len": "max_model_len", "max-num-seqs": "concurrency"}
"""Flags that have a key of their own under `serve`."""
PASSED_FLAGS: Final = frozenset(
    {
        # machines and memory
        *("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size", "decode-context-parallel-size"),
        *("enable-expert-parallel", "disable-custom-all-reduce", "max-parallel-loading-workers", "numa-bind"),
        *("gpu-memory-utilization", "kv-cache-memory-bytes", "kv-cache-dtype", "block-size", "num-gpu-blocks-override"),
        *("cpu-offload-gb", "safetensors-load-strategy", "enable-prefix-caching", "fully-sharded-loras"),
        # scheduling and kernels
        *("max-num-batched-tokens", "enable-chunked-prefill", "long-prefill-token-threshold", "scheduling-policy"),
        *("async-scheduling", "enforce-eager", "max-cudagraph-capture-size", "optimization-level"),
        *("attention-backend", "moe-backend", "disable-cascade-attn", "disable-log-stats"),
    }
)
"""Flags of speed, memory and parallelism: all that a spec can pass.

Any other could undo what the harness makes sure of: where the server listens and who may ask it,
that it runs no code of a model, and that it serves the model and template that were resolved.
"""
Scalar = str | int | float | bool


def passed_flags(given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A spec's `vllm_args` as flags without dashes. Raises ValueError for what must not be passed."""
    flags = {name.lstrip("-").replace("_", "-"): value for name, value in given.items()}
    faults = [_fault(name, value) for name, value in flags.items()]
    if told := [fault for fault in faults if fault]:
        raise ValueError("; ".join(told))
    if len(flags) < len(given):
        raise ValueError("a flag is given twice, with dashes and with underscores; keep one")
    return flags


def _fault(name: str, value: Scalar) -> str:
    if name in SPEC_KEYS:
        return f"{name} is set by `serve.{SPEC_KEYS[name]}`; give it there"
    if name not in PASSED_FLAGS:
        hint = did_you_mean(name, sorted(PASSED_FLAGS))
        return f"{name} cannot be passed, only flags of speed, memory and parallelism. {hint}"
    if isinstance(value, str) and (value.startswith("-") or not value):
        return f"{name}: got {value!r}; a value, and no flag"
    return ""


@dataclass(frozen=True, slots=True)
class Public:
    """A server for others: where it listens and by which name they ask. Nothing can be loaded into it later."""

    name: str
    """By which the model is asked for: the adapter where there is one, else the base model."""
    adapter: str = ""
    """Folder of the adapter that it is; empty for none."""
    host: str = "127.0.0.1"
    """Address that it listens on."""
    port: int = 8000
    """Port there."""
    api_key: str = ""
    """What askers must know; empty: nobody is asked."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server is started; every default suits a small machine."""

    device: str = "cpu"
    """`cpu` or `cuda`."""
    dtype: str = "auto"
    """Number type of the weights; auto is float32 on a CPU (bfloat16 is 3-4 times slower there), else bfloat16."""
    max_model_len: int | None = None
    """Longest prompt plus answer in tokens; None is the model's own, bounded."""
    max_adapters: int = 0
    """How many adapters may be loaded; 0 starts a server without LoRA."""
    adapter_rank: int = 16
    """Highest rank that any of them has."""
    concurrency: int | None = None
    """Requests in flight; None is 16 on a CPU, 128 on a GPU."""
    extra: Mapping[str, Scalar] = field(default_factory=dict)
    """More flags of the server, without the dashes."""
    startup_limit_s: float = 900.0
    """How long the server may take to come up."""
    public: Public | None = None
    """Set for a server that others ask; None for one that only the harness does, by a random key."""

    @property
    def resolved_dtype(self) -> str:
        """The number type with `auto` decided."""
        return self.dtype if self.dtype != "auto" else "float32" if self.device == "cpu" else "bfloat16"

    @property
    def resolved_concurrency(self) -> int:
        """Requests in flight, decided."""
        return self.concurrency or (16 if self.device == "cpu" else 128)

    def context(self, model: LocalModel) -> int:
        """The context length in use."""
        return self.max_model_len or min(model.context_length, LONGEST_CONTEXT)


def server_command(python: str, model: LocalModel, settings: Settings, port: int) -> list[str]:
    """The server's command line. The API key is not in it: others can read command lines."""
    return [python, "-m", MODULE, "--model", str(model.path), *_flags(model, settings, port)]


def serve_command(model: LocalModel, settings: Settings, port: int) -> list[str]:
    """The same as vLLM's own command, `vllm serve MODEL ...`, which its build for CPUs does not have."""
    return ["vllm", "serve", str(model.path), *_flags(model, settings, port)]


def _flags(model: LocalModel, settings: Settings, port: int) -> Iterator[str]:
    public = settings.public
    flags: dict[str, Any] = {
        "served-model-name": [public.name, BASE] if public is not None and not public.adapter else BASE,
        "host": public.host if public is not None else "127.0.0.1",
        "port": port,
        "dtype": settings.resolved_dtype,
        "max-model-len": settings.context(model),
        "max-num-seqs": settings.resolved_concurrency,
        # Without it, sampling defaults come silently from the model's generation_config.json.
        "generation-config": "vllm",
        "enable-prefix-caching": True,
        # The library that the transformers engine uses too, so that a constraint means the same on both.
        "structured-outputs-config": '{"backend":"guidance"}',
        "disable-uvicorn-access-log": True,
    }
    if model.ref.remote_code:
        flags["trust-remote-code"] = True
    if settings.max_adapters:
        flags |= {
            "enable-lora": True,
            # One more than is ever loaded: on a CPU "no adapter" reads the last slot, and a
            # base request in a mixed batch would silently be answered by the adapter in it.
            "max-loras": settings.max_adapters + 1,
            "max-lora-rank": server_rank(settings.adapter_rank),
        }
        if settings.device == "cpu":
            flags["lora-target-modules"] = CPU_LORA_MODULES
        if public is not None and public.adapter:
            flags["lora-modules"] = json.dumps({"name": public.name, "path": str(Path(public.adapter).resolve())})
    elif settings.device == "cpu":
        flags["enforce-eager"] = True  # else minutes of compiling; with LoRA nothing is compiled anyway
    flags |= settings.extra
    return _arguments(flags)


def server_environment(settings: Settings, model: LocalModel, api_key: str) -> dict[str, str]:
    """The server's environment: the harness's own, and what vLLM needs."""
    # The server may live in an environment of its own, where these would point to the wrong packages.
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    own.pop(KEY_VARIABLE, None)
    needed = needed_environment(settings, model)
    if CACHE in own:
        needed.pop(CACHE, None)
    return own | needed | ({KEY_VARIABLE: api_key} if api_key else {})


def needed_environment(settings: Settings, model: LocalModel) -> dict[str, str]:
    """What a server needs in its environment beside its key."""
    needed = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "VLLM_HOST_IP": "127.0.0.1"}
    # Whoever may load adapters into a server decides what it answers.
    needed["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True" if settings.public is None else "False"
    if settings.device == "cpu":
        needed[CACHE] = str(_cache_gib(model, settings))
        needed["TORCHDYNAMO_DISABLE"] = "1"  # else the first log-probabilities take 15 s
    return needed


def server_rank(rank: int) -> int:
    """The smallest rank a server can be started with that holds `rank`."""
    fitting = next((allowed for allowed in RANKS if allowed >= rank), None)
    if fitting is None:
        raise EngineError(f"vLLM serves adapters up to rank {RANKS[-1]}, not {rank}. Train with a lower rank.")
    return fitting


def _arguments(flags: Mapping[str, Any]) -> Iterator[str]:
    """Command line words: `--name value`, `--name` for true, `--no-name` for false."""
    for name, value in flags.items():
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
        else:
            yield f"--{name}"
            yield from value if isinstance(value, list) else [str(value)]


def _cache_gib(model: LocalModel, settings: Settings) -> int:
    """Whole GiB of key-value cache that hold two longest requests; a CPU server takes no fraction of memory."""
    config = json.loads((model.path / "config.json").read_text())
    config = config.get("text_config", config)
    heads = config.get("num_attention_heads", 1)
    head_size = config.get("head_dim") or config.get("hidden_size", 0) // heads
    values: int = 2 * config.get("num_hidden_layers", 0) * config.get("num_key_value_heads", heads) * head_size
    size = 4 if settings.resolved_dtype == "float32" else 2
    return max(1, math.ceil(2 * settings.context(model) * values * size / 2**30))
