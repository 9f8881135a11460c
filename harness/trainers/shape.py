"""The shape of a model: how many numbers it has and how wide they lie, from config.json and headers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.models.folder import read_config


@dataclass(frozen=True, slots=True)
class Shape:
    """A model as its folder tells it."""

    parameters: int
    linears: tuple[tuple[str, int, int], ...]
    """Name, rows and columns of every linear layer but the last."""
    file_bytes: int
    layers: int
    hidden: int
    inner: int
    heads: int
    """Width of all attention heads together."""
    keys: int
    """Width of all key heads together."""
    vocabulary: int
    gated: bool


def shape_of(folder: Path) -> Shape | None:
    """Read a model's folder; None where its config does not name what is needed."""
    config = read_config(folder / "config.json")
    text = config.get("text_config")
    config = text if isinstance(text, dict) else config
    tensors = _tensors(folder)
    layers, hidden = (_first(config, *names) for names in (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd")))
    if not layers or not hidden or not tensors:
        return None
    heads = _first(config, "num_attention_heads", "n_head") or 1
    width = _first(config, "head_dim") or hidden // heads
    matrices = [(name, s[0], s[1]) for name, s in tensors.items() if len(s) == 2 and name.endswith(".weight")]
    return Shape(
        parameters=sum(math.prod(shape) for shape in tensors.values()),
        linears=tuple((n, r, c) for n, r, c in matrices if not any(p in n for p in ("embed", "wte", "wpe", "lm_head"))),
        file_bytes=sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        layers=layers,
        hidden=hidden,
        inner=_first(config, "intermediate_size", "n_inner") or 4 * hidden,
        heads=heads * width,
        keys=(_first(config, "num_key_value_heads") or heads) * width,
        vocabulary=_first(config, "vocab_size") or 0,
        gated=any("gate" in name for name, _, _ in matrices),
    )


def _tensors(folder: Path) -> dict[str, list[int]]:
    """Name to shape of every stored tensor."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        found |= {name: one["shape"] for name, one in header.items() if name != "__metadata__"}
    return found


def _first(config: Any, *names: str) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)
