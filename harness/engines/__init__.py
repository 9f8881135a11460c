"""Engines: ways of asking a model, all behind the protocol in `base`.

`choose` says which engine a spec gets on this machine and why, without importing
anything heavy; `open_engine` starts it. A new engine is one file and one line in
`ENGINES`.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from harness.engines import vllm
from harness.engines.base import Adapter, Answer, Engine, Request
from harness.engines.constrain import check_constraint
from harness.engines.probe import check_adapter_acts
from harness.errors import EngineError
from harness.models import LocalModel
from harness.partspec import PartSpec

__all__ = [
    "ENGINES",
    "Adapter",
    "Answer",
    "Choice",
    "Engine",
    "Request",
    "ServeSpec",
    "check_adapter_acts",
    "check_constraint",
    "choose",
    "open_engine",
]


class ServeSpec(PartSpec):
    """How candidates are served while they are judged. Everything has a default."""

    engine: Literal["auto", "vllm", "transformers"] = "auto"
    """`auto` takes vLLM where it is installed and can run, else transformers in process."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the weights; `auto` is float32 on a CPU and bfloat16 on a GPU."""
    max_model_len: Annotated[int, Field(ge=16)] | None = None
    """Longest prompt plus answer in tokens (vllm); by default the model's own, up to 8192."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Requests a batch (transformers); by default chosen by the engine."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Requests in flight (vllm); by default 16 on a CPU and 128 on a GPU."""
    vllm_args: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Flags of speed, memory and parallelism for vLLM, e.g. {"tensor-parallel-size": 2}; recorded with each run."""

    @field_validator("vllm_args")
    @classmethod
    def _passed(cls, given: dict[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
        return vllm.passed_flags(given)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine, and one sentence that says why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What an engine is opened with."""

    spec: ServeSpec
    model: LocalModel
    max_adapters: int
    adapter_rank: int
    log: Path
    note: Callable[[str], None]


def choose(spec: ServeSpec) -> Choice:
    """The engine this spec gets here. Raises EngineError, with how to install, when there is none."""
    if spec.engine == "transformers":
        if not _transformers_installed():
            raise EngineError("`engine: transformers` needs it installed: pip install 'finetune-harness[train]'.")
        return Choice("transformers", "transformers serves, because the spec asks for it.")
    found = vllm.find()
    if spec.engine == "vllm":
        if found.python is None:
            raise EngineError(f"`engine: vllm` cannot run: {found.reason}. {vllm.INSTALL}")
        return Choice("vllm", f"vLLM serves, because the spec asks for it; {found.reason}.")
    if found.python is not None:
        return Choice("vllm", f"vLLM serves, because {found.reason}.")
    if _transformers_installed():
        return Choice("transformers", f"transformers serves in process, because {found.reason}.")
    raise EngineError(
        f"no engine can run: {found.reason}, and transformers is not installed. "
        f"pip install 'finetune-harness[train]', or: {vllm.INSTALL}"
    )


def open_engine(
    spec: ServeSpec,
    model: LocalModel,
    *,
    max_adapters: int,
    log: Path,
    note: Callable[[str], None] = lambda text: None,
    adapter_rank: int = 16,
) -> Engine:
    """Start the engine that `choose` names, ready for the base model.

    Adapters, at most `max_adapters` of at most rank `adapter_rank`, are loaded later
    with `load_adapter`. What the engine prints goes to `log`; `note` hears of progress.
    """
    choice = choose(spec)
    return ENGINES[choice.name](Opening(spec, model, max_adapters, adapter_rank, log, note))


def _open_vllm(opening: Opening) -> Engine:
    found, spec = vllm.find(), opening.spec
    if found.python is None:
        raise EngineError(f"vLLM cannot run: {found.reason}. {vllm.INSTALL}")
    settings = vllm.Settings(
        device=found.device,
        dtype=spec.dtype,
        max_model_len=spec.max_model_len,
        max_adapters=opening.max_adapters,
        adapter_rank=opening.adapter_rank,
        concurrency=spec.concurrency,
        extra=spec.vllm_args,
    )
    return vllm.VllmEngine(opening.model, python=found.python, log=opening.log, settings=settings, note=opening.note)


def _open_transformers(opening: Opening) -> Engine:
    from harness.engines.transformers_engine import TransformersEngine

    return TransformersEngine(opening.model, dtype=opening.spec.dtype, batch_size=opening.spec.batch_size)


ENGINES: Final[dict[str, Callable[[Opening], Engine]]] = {"vllm": _open_vllm, "transformers": _open_transformers}
"""Every engine by name; the contract tests run over each."""


@functools.cache
def _transformers_installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
