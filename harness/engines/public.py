"""A vLLM server for others, under the conditions that something was judged under: told as a command, or started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engines import ServeSpec, choose, vllm
from harness.engines.openai.client import chat_body
from harness.engines.vllm import Public, VllmEngine
from harness.models import LocalModel
from harness.records import Decoding, Message

__all__ = ["Public", "Served", "VllmEngine", "body", "environment", "line", "start"]


@dataclass(frozen=True, slots=True)
class Served:
    """What is served, and how."""

    spec: ServeSpec
    model: LocalModel
    """The base model, or a whole model that a training made."""
    public: Public

    def settings(self, device: str) -> vllm.Settings:
        """As `harness run` starts it, with room for the one adapter where there is one."""
        spec, adapter = self.spec, self.public.adapter
        return vllm.Settings(
            device=device,
            dtype=spec.dtype,
            max_model_len=spec.max_model_len,
            max_adapters=1 if adapter else 0,
            adapter_rank=vllm.adapter_rank(Path(adapter)) if adapter else 16,
            concurrency=spec.concurrency,
            extra=spec.vllm_args,
            public=self.public,
        )


def line(served: Served) -> list[str]:
    """The command that starts it on this machine: vLLM's own, or its module where a build for CPUs is installed."""
    found = vllm.find()
    settings = served.settings(found.device)
    if found.python is not None and found.device == "cpu":
        return vllm.server_command(found.python, served.model, settings, served.public.port)
    return vllm.serve_command(served.model, served.settings("cuda"), served.public.port)


def environment(served: Served) -> dict[str, str]:
    """What the command needs in its environment beside a key."""
    found = vllm.find()
    return vllm.needed_environment(served.settings(found.device if found.python else "cuda"), served.model)


def start(served: Served, log: Path, note: Callable[[str], None]) -> VllmEngine:
    """Start it and wait until it answers; a context manager. Raises EngineError where vLLM cannot run here."""
    choose(served.spec.model_copy(update={"engine": "vllm"}))  # says what is missing, and how to install it
    found = vllm.find()
    assert found.python is not None  # noqa: S101  `choose` refuses without one
    settings = served.settings(found.device)
    return VllmEngine(served.model, python=found.python, log=log, settings=settings, note=note)


def body(name: str, messages: Sequence[Message], decoding: Decoding, ends: Sequence[int]) -> dict[str, Any]:
    """The request that a judged question was: its turns, and every parameter of how it was answered."""
    sent = chat_body(name, messages, decoding, vllm.beyond_openai(decoding, ends))
    return {key: value for key, value in sent.items() if value is not None}
