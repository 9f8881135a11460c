"""One server for a base model and its adapters, against a server start for each of them.

The adapters are LoRAs of rank 16 on every linear layer with random weights: what they say does not matter here. Both
ways answer the same prompts for every candidate; in one server the candidates' requests are in flight together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engines import Adapter, Engine, Request, ServeSpec, open_engine
from harness.models import LocalModel
from harness.records import Decoding, Message


@dataclass(frozen=True)
class Serving:
    """How long one way took from nothing to the last answer."""

    way: str
    candidates: int
    prompts: int
    seconds: float


def make_adapters(model: LocalModel, count: int, folder: Path) -> list[Adapter]:
    """Adapters with random weights, saved as safetensors."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    made = []
    for number in range(count):
        torch.manual_seed(number)
        base = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32, use_safetensors=True)
        tuned = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.02)
        tuned.save_pretrained(folder / f"adapter{number}", safe_serialization=True)
        made.append(Adapter(f"adapter{number}", str(folder / f"adapter{number}")))
    return made


def _requests(prompts: Sequence[str], max_tokens: int) -> list[Request]:
    decoding = Decoding(max_tokens=max_tokens)
    return [Request(decoding, messages=(Message(role="user", content=prompt),)) for prompt in prompts]


def _answer_all(engine: Engine, names: Sequence[str | None], requests: Sequence[Request]) -> None:
    """Ask every candidate everything, all at once."""
    failed: list[object] = []

    def ask(name: str | None) -> None:
        try:
            failed.extend(answer.error for _, answer in engine.answer(requests, name) if answer.error)
        except Exception as error:  # raised below, in the caller's thread
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{len(failed)} calls failed, the first with: {failed[0]}")


def together(
    model: LocalModel, adapters: Sequence[Adapter], prompts: Sequence[str], max_tokens: int, log: Path
) -> Serving:
    """One start."""
    started = time.monotonic()
    with open_engine(ServeSpec(engine="vllm"), model, max_adapters=len(adapters), log=log) as engine:
        for adapter in adapters:
            engine.load_adapter(adapter)
        _answer_all(engine, [None, *(adapter.name for adapter in adapters)], _requests(prompts, max_tokens))
    return Serving("one server", len(adapters) + 1, len(prompts), time.monotonic() - started)


def one_by_one(
    model: LocalModel, adapters: Sequence[Adapter], prompts: Sequence[str], max_tokens: int, log: Path
) -> Serving:
    """A start for the base model, and one for each adapter."""
    started = time.monotonic()
    for adapter in (None, *adapters):
        with open_engine(ServeSpec(engine="vllm"), model, max_adapters=0 if adapter is None else 1, log=log) as engine:
            if adapter is not None:
                engine.load_adapter(adapter)
            _answer_all(engine, [adapter.name if adapter else None], _requests(prompts, max_tokens))
    return Serving("a server each", len(adapters) + 1, len(prompts), time.monotonic() - started)
