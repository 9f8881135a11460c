"""What a training will make, told from its spec: how that is served, and by which engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.errors import Problem
from harness.trainers import searching
from harness.trainers.searching import trades
from harness.trainers.spec import Method, TrainSpec

LEARNED: Final[frozenset[Method]] = frozenset({"prompt_tuning", "prefix_tuning", "adaption_prompt"})
"""Methods that put something learned before the text or its keys: no weight changes, so nothing can be merged."""
APART: Final[frozenset[Method]] = LEARNED | {"dora", "ia3", "full", "loftq", "classifier", "managed"}
"""Methods of which vLLM serves nothing beside the base model."""


def beside_base(spec: TrainSpec) -> int:
    """How many adapters a vLLM server must have room for; whole models, merged ones too, are served by their own."""
    if _methods(spec) <= APART:
        return 0
    return len(spec.seeds) + (spec.sweep.trials if spec.sweep is not None and trades(spec) else 0)


def unservable(spec: TrainSpec, engine: str) -> Iterator[Problem]:
    """Methods whose outcome an engine (`vllm`, `transformers`, `openai`) cannot serve in any form."""
    for method in sorted(_methods(spec)):
        if method in LEARNED and engine == "vllm":
            what = f"vLLM cannot serve {method}, and it cannot be merged into the model: it changes no weight"
            hint = "Serve it with transformers (serve: {engine: transformers}), or train a LoRA"
            yield Problem("train.method", what, next=hint)
        if method == "managed" and engine != "openai":
            what = f"the tuned model is only at its service, and {engine} serves"
            yield Problem("serve.engine", what, "Only `openai`", "Give its API: serve: {engine: openai, url: ...}")


def _methods(spec: TrainSpec) -> set[Method]:
    """The method, or all that a sweep tries."""
    return set(searching.possible(spec, "method"))
