"""Attention over a row's own keys and over a prefix that all rows share, and the caches that hold such keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from harness.errors import EngineError

ATTENTION = "harness_shared_prefix"
"""Name under which the attention below is known to transformers."""


@dataclass(slots=True)
class Prefix:
    """Keys and values that stand before all rows: what an adapter learned, and leading tokens that the rows share."""

    length: int = 0
    """Places that they take."""
    learned: int = 0
    """Places, the first ones, of a learned prompt or prefix: they are no tokens of any row."""
    layers: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    """Layer index to keys and values, each (kv heads, length, head size)."""
    reads: int = 0
    """How often attention has used it: the proof that no layer passes it by."""

    @property
    def tokens(self) -> int:
        """Tokens of each row that it holds."""
        return self.length - self.learned


class Capture:
    """A cache that holds the keys and values of one forward pass, (rows, kv heads, tokens, head size) a layer."""

    is_compileable = False

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Any, Any]] = {}

    def update(self, keys: Any, values: Any, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Called by each attention layer."""
        self.layers[layer_idx] = (keys, values)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens held before this pass."""
        return 0


def layer_kinds(config: Any) -> tuple[tuple[str, ...], int | None]:
    """The kinds of attention layers in a model, and the window of the sliding ones in tokens.

    Raises EngineError for a model whose layers are not all attention.
    """
    window = getattr(config, "sliding_window", None)
    kinds = tuple(sorted(set(getattr(config, "layer_types", None) or ())))
    if not kinds:
        kinds = ("full_attention",) if window is None else ("sliding_attention",)
    if unknown := set(kinds) - {"full_attention", "sliding_attention"}:
        raise EngineError(
            f"the transformers engine cannot run {config.model_type}: it has layers of kind {', '.join(unknown)}. "
            "Serve it with vLLM (serve.engine: vllm)."
        )
    return kinds, window if "sliding_attention" in kinds else None


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    shared_prefix: Prefix | None = None,
    softcap: float | None = None,
    s_aux: Any = None,
    **kwargs: Any,
) -> tuple[Any, None]:
    """Attention over a row's own keys and, when there is one, over the prefix that all rows share.

    query: (rows, heads, n, head size). key, value: (rows, kv heads, m, head size).
    Returns (rows, n, heads, head size).
    """
    if s_aux is not None:
        raise EngineError("the transformers engine cannot run attention sinks. Serve the model with vLLM.")
    if shared_prefix is None and softcap is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling)  # type: ignore[no-any-return]
    rows, heads, n, size = query.shape
    kv, m = key.shape[1], key.shape[2]
    scaling = size**-0.5 if scaling is None else scaling
    grouped = query.reshape(rows, kv, heads // kv * n, size) * scaling
    own = grouped @ key.transpose(2, 3)
    if shared_prefix is None:
        scores, length = own, 0
    else:
        shared_prefix.reads += 1
        length = shared_prefix.length
        keys, values = shared_prefix.layers[module.layer_idx]
        # One product a head over all rows: the prefix is read once, not once a row.
        flat = grouped.transpose(0, 1).reshape(kv, -1, size)
        far = (flat @ keys.transpose(1, 2)).view(kv, rows, -1, length).transpose(0, 1)
        scores = torch.cat((far, own), dim=-1)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    by_head = scores.view(rows, heads, n, length + m)
    by_head[..., length:] += attention_mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    out = weights[..., length:] @ value
    if shared_prefix is not None:
        near = weights[..., :length].transpose(0, 1).reshape(kv, -1, length)
        out = out + (near @ values).view(kv, rows, -1, value.shape[-1]).transpose(0, 1)
    return out.reshape(rows, heads, n, -1).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attend)
