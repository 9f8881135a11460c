"""What training keeps in memory beside the base model: an adapter's numbers, and activations for the backward pass.

Counted off the arithmetic of a decoder layer as transformers and PEFT write it, times what the allocator holds beside,
which was measured: see docs/training_speed.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.trainers.shape import Shape
from harness.trainers.spec import TrainSpec

HELD: Final = {
    "cpu": {"lora": 1.85, "head": 1.4, "frozen": 1.2, "whole": 1.2},
    "cuda": {"lora": 1.1, "head": 1.1, "frozen": 1.1, "whole": 1.1},
}
"""Memory held for each byte that autograd keeps: freed pieces between kept ones go back to nobody."""
RECOMPUTED: Final = {"lora": 0.95, "head": 0.7, "frozen": 0.37, "whole": 0.5}
"""The same on a CPU under checkpointing, for each byte that would be kept without it."""
TILE: Final = (1024, 32768)
"""Tokens and words of the vocabulary whose logits TRL's head has at once."""
WHOLE_LOGITS: Final = {"orpo": 5, "grpo": 5}
"""Objectives whose logits TRL does not tile, and how many numbers are held for each of them."""
LORAS: Final = ("lora", "rslora", "dora", "pissa", "loftq", "qlora", "classifier")


def adapter_parameters(spec: TrainSpec, shape: Shape) -> int:
    """Parameters of the adapter."""
    if _head_alone(spec):
        return 0
    if spec.method in LORAS:
        named = [one for one in shape.linears if _targeted(spec, one[0])]
        more = sum(rows for _, rows, _ in named) if spec.method == "dora" else 0
        return sum(spec.rank * (rows + columns) for _, rows, columns in named) + more
    return {
        "ia3": shape.layers * (2 * shape.keys + shape.inner),
        "prompt_tuning": spec.virtual_tokens * shape.hidden,
        "prefix_tuning": shape.layers * spec.virtual_tokens * 2 * shape.keys,
    }.get(spec.method, shape.layers * (spec.virtual_tokens * shape.hidden + 1))


def activations(spec: TrainSpec, shape: Shape, rows: int, longest: int, learned: int, number: int, device: str) -> int:
    """Bytes for the backward pass of so many rows at the longest batch, and the logits.

    longest: tokens of a row; learned: of those, tokens with loss; number: bytes of a number.
    """
    if _head_alone(spec):
        return 0
    kind = {"full": "whole", "classifier": "head"}.get(spec.method, "lora" if spec.method in LORAS else "frozen")
    kept, tokens = _of_a_token(spec, shape), rows * (longest + _prepended(spec))
    whole = tokens * kept * shape.layers * number
    adapted = len([one for one in shape.linears if _targeted(spec, one[0])]) / max(len(shape.linears), 1)

    def of(factors: Mapping[str, float]) -> float:
        """The factor; of a LoRA on few of the layers between that of one on all and that of what adapts none."""
        return factors["frozen"] + (adapted if kind == "lora" else 1) * (factors[kind] - factors["frozen"])

    if not spec.gradient_checkpointing:
        held = whole * of(HELD[device])
    elif device == "cpu":
        held = whole * of(RECOMPUTED)
    else:
        held = tokens * (shape.hidden * shape.layers + kept) * number * of(HELD[device])
    return round(held) + _logits(spec, shape, rows, longest, learned)


def _head_alone(spec: TrainSpec) -> bool:
    """Whether nothing is trained but a label head, over features that are computed once."""
    return spec.method == "classifier" and spec.classifier.body == "frozen"


def _logits(spec: TrainSpec, shape: Shape, rows: int, longest: int, learned: int) -> int:
    if spec.method == "classifier":
        return 0
    if spec.objective in WHOLE_LOGITS:
        scored = rows * (longest if spec.objective == "orpo" else learned)
        return scored * shape.vocabulary * 4 * WHOLE_LOGITS[spec.objective]
    return min(rows * learned, TILE[0]) * min(shape.vocabulary, TILE[1]) * 4 * 4


def _of_a_token(spec: TrainSpec, shape: Shape) -> int:
    """Numbers kept for a token in one layer: what the norms, attention and the MLP's product are derived by, and what
    goes into each layer that learns."""
    kept = 2 * shape.hidden + 4 * shape.heads + (3 if shape.gated else 1) * shape.inner
    if spec.method == "full":
        return kept + 4 * shape.hidden + shape.inner
    if spec.method == "ia3":
        return kept + shape.inner + 2 * shape.keys
    if spec.method == "adaption_prompt":
        return kept + 3 * shape.heads
    if spec.method not in LORAS:
        return kept
    named = [one for one in shape.linears if _targeted(spec, one[0])]
    kept += shape.hidden * len({".mlp." in name for name, _, columns in named if columns == shape.hidden})
    kept += shape.inner if any(columns == shape.inner for _, _, columns in named) else 0
    out = sum(rows for _, rows, _ in named) if spec.method == "dora" else 0
    return kept + (spec.rank * len(named) + out) // shape.layers


def _prepended(spec: TrainSpec) -> int:
    """Tokens that stand before each row and are learned."""
    return spec.virtual_tokens if spec.method == "prompt_tuning" else 0


def _targeted(spec: TrainSpec, name: str) -> bool:
    if spec.target_modules == "all-linear":
        return True
    names = (spec.target_modules,) if isinstance(spec.target_modules, str) else spec.target_modules
    return any(name.removesuffix(".weight").endswith(one) for one in names)
