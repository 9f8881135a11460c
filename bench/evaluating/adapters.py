"""One server for a base model and its adapters, against a server start for each of them.

The adapters are LoRAs of rank 16 on every linear layer with random weights: what they say does not matter here. Both
ways answer the same prompts for every candidate, from nothing to the last answer, and prove at the start that each
adapter answers as itself; in one server the candidates' requests are in flight together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engines import Adapter, Engine, Request, ServeSpec, open_engine
from harness.models import LocalModel
from harness.records import Decoding, Message

TOGETHER, APART = "one server", "a server each"


@dataclass(frozen=True)
class Serving:
    """How long one way took from nothing to the last answer."""

    way: str
    candidates: int
    prompts: int
    seconds: float
    answering: float
    """Seconds of it in which questions were being answered; the rest is starts, loading and proofs."""
    tokens: int


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


def requests_of(names: Sequence[str | None], prompts: Sequence[str], max_tokens: int) -> list[Request]:
    """Every prompt to every candidate, the candidates in turns."""
    decoding = Decoding(max_tokens=max_tokens)
    turns = [(Message(role="user", content=prompt),) for prompt in prompts]
    return [Request(decoding, messages=messages, adapter=name) for messages in turns for name in names]


def answer_all(engine: Engine, requests: Sequence[Request]) -> tuple[float, int]:
    """Seconds and tokens of all answers. Raises RuntimeError when a call fails."""
    started = time.monotonic()
    answers = [answer for _, answer in engine.answer(requests)]
    seconds = time.monotonic() - started
    if failed := [answer.error for answer in answers if answer.error]:
        raise RuntimeError(f"{len(failed)} calls failed, the first with: {failed[0]}")
    return seconds, sum(answer.tokens_out or 0 for answer in answers)


def serve(
    way: str, model: LocalModel, adapters: Sequence[Adapter], prompts: Sequence[str], max_tokens: int, log: Path
) -> Serving:
    """One start for all, or a start for the base model and one for each adapter, one after the other."""
    servers: list[list[Adapter]] = [list(adapters)] if way == TOGETHER else [[], *([one] for one in adapters)]
    started, answering, tokens = time.monotonic(), 0.0, 0
    for own in servers:
        with open_engine(ServeSpec(engine="vllm"), model, max_adapters=len(own), log=log) as engine:
            for adapter in own:
                engine.load_adapter(adapter)
            # Apart, the base model answers in a server of its own, as it does where nobody serves adapters.
            base = [None] if not own or way == TOGETHER else []
            took, made = answer_all(engine, requests_of([*base, *(one.name for one in own)], prompts, max_tokens))
        answering, tokens = answering + took, tokens + made
    return Serving(way, len(adapters) + 1, len(prompts), time.monotonic() - started, answering, tokens)


def measure(
    model: LocalModel, count: int, prompts: Sequence[str], max_tokens: int, rounds: int, folder: Path
) -> list[Serving]:
    """Both ways `rounds` times in turn."""
    adapters = make_adapters(model, count, folder)
    found = []
    for number in range(rounds):
        for way in (TOGETHER, APART) if number % 2 == 0 else (APART, TOGETHER):
            found.append(serve(way, model, adapters, prompts, max_tokens, folder / "log"))
            print(found[-1], file=sys.stderr, flush=True)
    return found
