"""One forward pass of a causal model: which adapter, which positions, which logits.

Three things are done here that `model.generate` does not do. Rows are padded on the
right, so that a token's slot is its position and no padding is ever attended. Logits
are computed only where they are asked for. And keys and values of a prefix that all
rows share are held once, not once a row.
"""

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
    """Keys and values of leading tokens that all rows share."""

    length: int = 0
    layers: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    """Layer index to keys and values, each (kv heads, length, head size)."""
    reads: int = 0
    """How often attention has used it: the proof that no layer passes it by."""


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


class Forward:
    """A loaded model with its adapters. Every pass names its adapter, so none is active by accident."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config = model.config.get_text_config()
        self.device = model.device
        self.dtype = model.dtype
        self._peft: Any = None
        self._names: dict[str, str] = {}
        self._made = 0
        self._active: str | None = None
        self._kinds, self.window = layer_kinds(self.config)

    def add(self, name: str, path: str) -> None:
        """Load an adapter beside the base model. Raises what peft raises."""
        from peft import PeftConfig, get_peft_model

        self._made += 1
        inner = f"adapter{self._made}"  # names of modules allow no dots
        if self._peft is None:
            self._peft = get_peft_model(self.model, PeftConfig.from_pretrained(path), adapter_name=inner)
        try:
            loaded = self._peft.load_adapter(path, inner, is_trainable=False)
            # An adapter that is only half there answers almost like the base model, and nobody notices.
            if lost := [*loaded.missing_keys, *loaded.unexpected_keys]:
                raise ValueError(f"{len(lost)} tensors have no counterpart, e.g. {lost[0]}")
        except Exception:  # whatever went wrong, nothing half-loaded stays; it is raised again
            self._peft.delete_adapter(inner)
            raise
        finally:
            self._peft.eval()
            self._peft.base_model.disable_adapter_layers()
            self._active = None
        self._names[name] = inner

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the adapters that are loaded."""
        return frozenset(self._names)

    def __call__(
        self,
        adapter: str | None,
        tokens: Any,
        positions: Any,
        allowed: Any,
        wanted: Any,
        cache: Any = None,
        prefix: Prefix | None = None,
        places: Any = None,
    ) -> Any:
        """Logits (wanted, vocabulary) in float32.

        tokens: (rows, n) ids. positions: (rows or 1, n), counted from the first token of
        the prefix. allowed: (rows or 1, n, m) bool, which of the m own keys each token sees;
        the prefix is always seen. places: (rows or 1, m), the positions of the keys when
        they are not those of the tokens. wanted: indices into rows * n.
        """
        self._activate(adapter)
        shared = prefix if prefix is not None and prefix.length else None
        reads = shared.reads if shared else 0

        def only_wanted(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (args[0].flatten(0, 1)[wanted],)

        # Selecting before the output layer keeps whatever a model does to its logits after it.
        hook = self.model.get_output_embeddings().register_forward_pre_hook(only_wanted)
        try:
            with torch.no_grad():
                out = self.model(
                    input_ids=tokens,
                    position_ids=positions,
                    attention_mask=self._masks(allowed, positions, positions if places is None else places),
                    past_key_values=cache,
                    use_cache=cache is not None,
                    shared_prefix=shared,
                )
        finally:
            hook.remove()
        if shared and shared.reads - reads != len(shared.layers):
            raise EngineError(f"{type(self.model).__name__} does not pass a shared prefix to its attention layers")
        return out.logits.float()

    def prefix(self, adapter: str | None, tokens: list[int]) -> Prefix:
        """Run the leading tokens that all rows share, once."""
        if not tokens:
            return Prefix()
        cache = Capture()
        ids = torch.tensor([tokens], device=self.device)
        slots = torch.arange(len(tokens), device=self.device)
        allowed = (slots[None, :] <= slots[:, None])[None]
        self(adapter, ids, slots[None], allowed, torch.tensor([0], device=self.device), cache)
        return Prefix(len(tokens), {layer: (keys[0], values[0]) for layer, (keys, values) in cache.layers.items()})

    def _activate(self, adapter: str | None) -> None:
        if adapter == self._active:
            return
        if adapter is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(self._names[adapter], inference_mode=True)
        self._active = adapter

    def _masks(self, allowed: Any, positions: Any, places: Any) -> Any:
        """The additive mask (rows or 1, 1, n, m), one for each kind of layer where a model has several."""
        masks = {}
        for kind in self._kinds:
            seen = allowed
            if kind == "sliding_attention":
                seen = allowed & (places[:, None, :] > positions[:, :, None] - self.window)
            mask = torch.zeros(seen.shape, dtype=self.dtype, device=self.device)
            masks[kind] = mask.masked_fill_(~seen, torch.finfo(self.dtype).min)[:, None]
        return masks if len(masks) > 1 else next(iter(masks.values()))


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
