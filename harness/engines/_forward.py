"""One forward pass of a causal model: which adapter, which positions, which logits.

Three things are done here that `model.generate` does not do. Rows are padded on the
right, so that a token's slot is its position and no padding is ever attended. Logits
are computed only where they are asked for. And keys and values of a prefix that all
rows share are held once, not once a row.
"""

from __future__ import annotations

from typing import Any

import torch

from harness.engines._attention import ATTENTION, Capture, Prefix, layer_kinds
from harness.errors import EngineError

__all__ = ["ATTENTION", "Capture", "Forward", "Prefix"]


class Forward:
    """A loaded model with its adapters. Every pass names its adapter, so none is active by accident."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config = model.config.get_text_config()
        self.device = model.device
        self.dtype = model.dtype
        self._peft: Any = None
        self._names: dict[str, str] = {}
        self._learned: dict[str, Prefix] = {}
        self._made = 0
        self._active: str | None = None
        self._kinds, self.window = layer_kinds(self.config)

    def add(self, name: str, path: str) -> None:
        """Load an adapter beside the base model. Raises what peft raises."""
        from peft import PeftConfig, get_peft_model

        config = PeftConfig.from_pretrained(path)
        if config.is_prompt_learning:
            self._learned[name] = self._learned_prefix(path, config)
            return
        self._made += 1
        inner = f"adapter{self._made}"  # names of modules allow no dots
        if self._peft is None:
            self._peft = get_peft_model(self.model, config, adapter_name=inner)
        try:
            _load_whole(self._peft, path, inner)
        except Exception:  # whatever went wrong, nothing half-loaded stays; it is raised again
            self._peft.delete_adapter(inner)
            raise
        finally:
            self._peft.eval()
            self._switch(on=False)
            self._active = None
        self._names[name] = inner

    def _learned_prefix(self, path: str, config: Any) -> Prefix:
        """What stands before every text: a learned prompt is run once, a learned prefix is keys and values already."""
        from peft import get_peft_model

        if self.window is not None:
            raise ValueError("a learned prompt or prefix is not served before sliding attention")
        self._activate(None)
        around = get_peft_model(self.model, config, adapter_name="learned")
        _load_whole(around, path, "learned")
        with torch.no_grad():
            learned = around.eval().get_prompt(1)
        if isinstance(learned, torch.Tensor):
            cache, slots = Capture(), torch.arange(learned.shape[1], device=self.device)
            allowed = (slots[None, :] <= slots[:, None])[None]
            self._run({"inputs_embeds": learned.to(self.dtype)}, slots[None], allowed, slots[:1], cache)
            layers = {layer: (keys[0], values[0]) for layer, (keys, values) in cache.layers.items()}
        else:
            layers = {at: (layer.keys[0], layer.values[0]) for at, layer in enumerate(learned.layers)}
        return Prefix(config.num_virtual_tokens, config.num_virtual_tokens, layers)

    def learned(self, adapter: str | None) -> int:
        """Places of the context that an adapter's learned prompt or prefix takes."""
        return self._learned[adapter].length if adapter in self._learned else 0

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the adapters that are loaded."""
        return frozenset((*self._names, *self._learned))

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

        tokens: (rows, n) ids. positions: (rows or 1, n), counted from the first place of
        the prefix. allowed: (rows or 1, n, m) bool, which of the m own keys each token sees;
        the prefix is always seen. places: (rows or 1, m), the positions of the keys when
        they are not those of the tokens. wanted: indices into rows * n.
        """
        self._activate(adapter)
        return self._run({"input_ids": tokens}, positions, allowed, wanted, cache, prefix, places)

    def _run(
        self,
        given: dict[str, Any],
        positions: Any,
        allowed: Any,
        wanted: Any,
        cache: Any = None,
        prefix: Prefix | None = None,
        places: Any = None,
    ) -> Any:
        """As `__call__`, with the adapter that is active. given: `input_ids`, or `inputs_embeds` (rows, n, size)."""
        shared = prefix if prefix is not None and prefix.length else None
        reads = shared.reads if shared else 0

        def only_wanted(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (args[0].flatten(0, 1)[wanted],)

        # Selecting before the output layer keeps whatever a model does to its logits after it.
        hook = self.model.get_output_embeddings().register_forward_pre_hook(only_wanted)
        try:
            with torch.no_grad():
                out = self.model(
                    **given,
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
        """Run the leading tokens that all rows share, once, behind what the adapter puts before them."""
        learned = self._learned.get(adapter or "", Prefix())
        if not tokens:
            return learned
        cache = Capture()
        ids = torch.tensor([tokens], device=self.device)
        slots = torch.arange(len(tokens), device=self.device)
        allowed = (slots[None, :] <= slots[:, None])[None]
        self(adapter, ids, learned.length + slots[None], allowed, slots[:1], cache, learned)
        layers = {}
        for layer, new in cache.layers.items():
            parts = zip(learned.layers[layer], new, strict=True) if learned.length else ((None, part) for part in new)
            keys, values = (part[0] if old is None else torch.cat((old, part[0]), dim=1) for old, part in parts)
            layers[layer] = (keys, values)
        return Prefix(learned.length + len(tokens), learned.length, layers)

    def _activate(self, adapter: str | None) -> None:
        adapter = None if adapter in self._learned else adapter
        if adapter == self._active:
            return
        self._switch(on=adapter is not None)
        if adapter is not None:
            plain = "_enabled" not in vars(self._peft.base_model)  # adaption_prompt has no mode for inference
            self._peft.set_adapter(self._names[adapter], **({"inference_mode": True} if plain else {}))
        self._active = adapter

    def _switch(self, *, on: bool) -> None:
        """Adapters in the layers on or off."""
        layers = self._peft.base_model
        if vars(layers).get("_enabled") is on:  # adaption_prompt's cannot be switched twice
            return
        if on:
            layers.enable_adapter_layers()
        else:
            layers.disable_adapter_layers()

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


def _load_whole(peft: Any, path: str, name: str) -> None:
    """Load an adapter's weights. Raises ValueError where a part of it has no counterpart."""
    loaded = peft.load_adapter(path, name, is_trainable=False)
    # An adapter that is only half there answers almost like the base model, and nobody notices.
    lost = {*loaded.missing_keys, *loaded.unexpected_keys} - {"prompt_embeddings"}  # loaded by itself, strictly
    if lost:
        raise ValueError(f"{len(lost)} tensors have no counterpart, e.g. {min(lost)}")
