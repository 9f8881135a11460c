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
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from harness.engines import vllm
from harness.engines.base import Adapter, Answer, Engine, Request
from harness.engines.constrain import check_constraint
from harness.engines.http import url_fault
from harness.engines.probe import check_adapter_acts
from harness.errors import EngineError, HarnessError, Problem
from harness.models import LocalModel, remote
from harness.partspec import PartSpec
from harness.records import Conditions, Constraint

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
    "open_endpoint",
    "open_engine",
    "refusal",
]


class ServeSpec(PartSpec):
    """How candidates are served while they are judged. Everything has a default."""

    engine: Literal["auto", "vllm", "transformers", "openai"] = "auto"
    """`auto` takes vLLM where it is installed and can run, else transformers in process; `openai` asks a server that
    runs elsewhere."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the weights; `auto` is float32 on a CPU and bfloat16 on a GPU."""
    max_model_len: Annotated[int, Field(ge=16)] | None = None
    """Longest prompt plus answer in tokens (vllm, openai); by default the model's own, up to 8192, or the server's."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Requests a batch (transformers); by default chosen by the engine."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Requests in flight (vllm, openai); by default 16, and 128 for vllm on a GPU."""
    cache: bool = True
    """Take an answer that these very weights once gave, under the same conditions, from the cache under HARNESS_HOME.
    Never done for a server that runs elsewhere, nor where a gate is on latency."""
    vllm_args: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Flags of speed, memory and parallelism for vLLM, e.g. {"tensor-parallel-size": 2}; recorded with each run."""
    url: str | None = None
    """URL of an OpenAI-compatible API (openai), e.g. https://api.example.org/v1."""
    api_model: str = ""
    """Name by which that server knows the base model; by default the only one it lists, or that of `openai:NAME`."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "HARNESS_API_KEY"
    """Environment variable that holds the server's key; the key itself is written nowhere."""
    adapter_models: dict[str, str] = Field(default_factory=dict)
    """Candidates with an adapter to the names by which the server knows them (openai)."""
    timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds that one answer may take (openai)."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.engine == "openai":
            if not self.url:
                raise ValueError("url: is missing; engine: openai asks a server, e.g. http://127.0.0.1:8000/v1")
            if fault := url_fault(self.url):
                raise ValueError(f"url: {fault}")
            return self
        given = [name for name in ("url", "api_model", "adapter_models") if getattr(self, name)]
        if given:
            raise ValueError(f"{', '.join(given)}: only engine: openai asks a server that runs elsewhere")
        return self

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
    if spec.engine == "openai":
        return Choice(
            "openai", f"the server at {urlsplit(spec.url or '').netloc} answers, because the spec asks for it."
        )
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
    if model.remote_name is not None and choice.name != "openai":
        hint = "Give its server: serve: {engine: openai, url: ...}"
        raise EngineError(Problem("model", f"{model.ref.name!r} cannot be served here by {choice.name}", next=hint))
    return ENGINES[choice.name](Opening(spec, model, max_adapters, adapter_rank, log, note))


def open_endpoint(
    url: str,
    model: str,
    key_env: str = "HARNESS_PROPOSER_KEY",
    note: Callable[[str], None] = lambda text: None,
    concurrency: int | None = None,
) -> Engine:
    """A model of any OpenAI-compatible server, by its name there; a context manager.

    The key is read from the environment variable `key_env`. `concurrency`: requests in flight, by default 16.
    Raises EngineError: unreachable, wrong key, unknown model.
    """
    from harness.engines.openai.engine import OpenAIEngine, Remote

    return OpenAIEngine(remote(model), Remote(url, key_env=key_env, concurrency=concurrency), note)


def refusal(conditions: Conditions, constraint: Constraint) -> str:
    """Why an engine with these conditions cannot enforce a constraint on a chat answer; empty where it can.

    Asked before a prompt with that constraint is tried, so that no call is spent on it.
    """
    plain = conditions.engine == "openai" and conditions.flags.get("kind") != "vllm"
    if plain and constraint.json_schema is None:
        return f"the server at {conditions.flags.get('server')} cannot constrain an answer to choices or a regex"
    if plain:
        return ""  # what schemas the server understands, only it can tell
    try:
        check_constraint(constraint)
    except HarnessError as fault:
        return str(fault)
    return ""


def _open_openai(opening: Opening) -> Engine:
    from harness.engines.openai.engine import OpenAIEngine, Remote

    spec = opening.spec
    where = Remote(
        url=spec.url or "",
        api_model=spec.api_model,
        key_env=spec.api_key_env,
        adapter_models=spec.adapter_models,
        max_model_len=spec.max_model_len,
        concurrency=spec.concurrency,
        timeout_s=spec.timeout_s,
    )
    return OpenAIEngine(opening.model, where, opening.note)


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


ENGINES: Final[dict[str, Callable[[Opening], Engine]]] = {
    "vllm": _open_vllm,
    "transformers": _open_transformers,
    "openai": _open_openai,
}
"""Every engine by name; the contract tests run over each."""


@functools.cache
def _transformers_installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
