"""The in-process engine: transformers and peft on this machine's CPU or GPU.

It is the engine that runs everywhere. Requests that start with the same tokens (an
instruction, worked examples) share one computation of them; see `_forward`, `_decode`
and `_score` for how.
"""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.engines.base import Adapter, Answer, Engine, Request, refuse_unknown
from harness.errors import EngineError, Problem
from harness.models import LocalModel, quiet
from harness.records import Conditions

Work = TypeVar("Work")

DTYPES = ("auto", "float32", "bfloat16", "float16")
SHARED_FROM = 32
"""Fewest leading tokens that are worth sharing; also how requests are grouped."""
UNSERVED = frozenset({"CPT", "MULTITASK_PROMPT_TUNING", "CARTRIDGE", "POLY", "XLORA"})
"""PEFT's types that read the question otherwise than by its tokens, or need more than it."""
MEMORY = 1 << 31
"""Bytes that keys and values of the rows in flight may take on a CPU; a GPU gives half of what is free."""


class TransformersEngine(Engine):
    """Answers with one base model and any number of adapters on it. Not safe for use by several threads."""

    conditions: Conditions
    concurrent = False

    def __init__(
        self,
        model: LocalModel,
        adapters: Sequence[Adapter] = (),
        *,
        dtype: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        """Load the model; `auto` is float32 on a CPU and bfloat16 on a GPU. Raises EngineError.

        `batch_size` is the number of requests in flight; by default as many as memory allows,
        up to 64 on a CPU and 256 on a GPU.
        """
        try:
            import torch
            import transformers
            from transformers import AutoModelForCausalLM, AutoTokenizer

            from harness.engines import _forward, _tokens
        except ImportError as error:
            hint = "Install the training extra: pip install 'finetune-harness[train]'"
            raise EngineError(Problem("", f"the transformers engine needs {error.name}", next=hint)) from error
        if dtype not in DTYPES:
            raise EngineError(Problem("serve.dtype", f"unknown dtype {dtype!r}", f"Known: {', '.join(DTYPES)}"))
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        if dtype == "auto":
            dtype = "bfloat16" if self._device == "cuda" else "float32"
        self._context = model.context_length
        self._batch_size = batch_size or (256 if self._device == "cuda" else 64)
        self._budget = 32768 if self._device == "cuda" else 4096
        try:
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(model.path, **model.safely)
                loaded = AutoModelForCausalLM.from_pretrained(
                    model.path,
                    dtype=getattr(torch, dtype),
                    use_safetensors=True,
                    attn_implementation=_forward.ATTENTION,
                    **model.safely,
                )
                loaded = loaded.to(self._device).eval()
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineError(Problem(f"model {model.ref.name!r}", f"cannot be loaded: {error}")) from error
        self._forward: Any = _forward.Forward(loaded)
        self._codec = _tokens.Codec(tokenizer, self._forward.config)
        self.conditions = Conditions(
            engine="transformers",
            engine_version=transformers.__version__,
            dtype=dtype,
            device=self._device,
            chat_template_digest=model.ref.chat_template_digest,
            flags={"attention": "sdpa", "end_tokens": ",".join(map(str, sorted(self._codec.ends)))},
        )
        for adapter in adapters:
            self.load_adapter(adapter)

    def load_adapter(self, adapter: Adapter) -> None:
        """Serve one more adapter beside the base model. Raises EngineError when any part of it does not fit."""
        path = Path(adapter.path)
        where = f"adapter {adapter.name!r} ({path})"
        if adapter.name in self._running.adapters:
            raise EngineError(Problem(where, "this name is taken", "Names are unique in an engine"))
        for file in ("adapter_model.safetensors", "adapter_config.json"):
            if not (path / file).is_file():
                raise EngineError(Problem(where, f"has no {file}", "Adapters are peft folders with safetensors"))
        refuse_foreign(json.loads((path / "adapter_config.json").read_text(encoding="utf-8")), where)
        try:
            with quiet():
                self._running.add(adapter.name, str(path))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise EngineError(Problem(where, f"does not fit the base model: {error}")) from error

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answer all requests, those to one model after those to another; see the protocol.

        Requests that cannot fit the context are answered with an error.
        """
        refuse_unknown(requests, self._running.adapters)
        for name in dict.fromkeys(request.adapter for request in requests):
            own = {index: request for index, request in enumerate(requests) if request.adapter == name}
            yield from self._answers_of(name, own)

    def _answers_of(self, adapter: str | None, requests: Mapping[int, Request]) -> Iterator[tuple[int, Answer]]:
        """Answers of one model, to requests by their index."""
        from harness.engines._decode import Generation, Job
        from harness.engines._score import Scored, score

        forward, learned = self._running, self._running.learned(adapter)
        jobs, items = list[Job](), list[Scored]()
        for index, request in requests.items():
            try:
                if request.choices:
                    item = Scored(index, *self._codec.choices(request))
                    self._must_fit(max(len(item.context) + len(choice) for choice in item.choices) + learned)
                    items.append(item)
                else:
                    job = Job(index, self._codec.prompt(request), request.decoding)
                    self._must_fit(job.slots + learned)
                    if request.decoding.constraint is not None:
                        self._codec.masks.matcher(request.decoding.constraint)
                    jobs.append(job)
            except EngineError:
                raise
            except Exception as error:  # a template may raise anything over one item's turns
                yield index, Answer(error=f"{type(error).__name__}: {error}")
        try:
            for shared, batches in self._groups(items, lambda item: item.context, lambda item: item.size):
                prefix = forward.prefix(adapter, shared)
                for batch in batches:
                    yield from score(forward, adapter, batch, prefix, self._batch_size, self._budget)
            for shared, works in self._groups(jobs, lambda job: job.prompt, lambda job: job.slots):
                prefix = forward.prefix(adapter, shared)
                for work in works:
                    rows = self._rows(max(job.slots for job in work) - prefix.tokens)
                    yield from Generation(forward, self._codec, adapter, rows, self._budget).run(work, prefix)
        except self._torch.OutOfMemoryError as error:
            raise EngineError(f"out of memory on {self._device}: {error} Set a smaller batch size.") from error

    def close(self) -> None:
        """Free the model. Safe to call twice."""
        self._forward = None
        if self._device == "cuda":
            gc.collect()  # modules hold each other, and another engine may need the memory now
            self._torch.cuda.empty_cache()

    @property
    def _running(self) -> Any:
        if self._forward is None:
            raise EngineError("the engine is closed")
        return self._forward

    def _must_fit(self, tokens: int) -> None:
        if tokens > self._context:
            # Cutting the prompt would quietly ask another question.
            raise ValueError(f"prompt and answer take {tokens} tokens, the model's context holds {self._context}")

    def _rows(self, slots: int) -> int:
        """Requests in flight that memory allows when each may take this many tokens."""
        config, torch = self._forward.config, self._torch
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        each = 2 * config.num_hidden_layers * heads * size * self._forward.dtype.itemsize * slots
        free = torch.cuda.mem_get_info()[0] // 2 if self._device == "cuda" else MEMORY
        return max(1, min(self._batch_size, int(free // each)))

    def _groups(
        self, work: list[Work], tokens: Callable[[Work], list[int]], size: Callable[[Work], int]
    ) -> Iterator[tuple[list[int], list[list[Work]]]]:
        """Work that starts alike, with the tokens it shares, in batches of like size, longest first."""
        from harness.engines._tokens import common_prefix

        window = self._forward.window
        alike: dict[tuple[int, ...], list[Work]] = defaultdict(list)
        for one in work:
            far = window is not None and size(one) > window  # a window may end inside the shared tokens
            alike[() if far else tuple(tokens(one)[:SHARED_FROM])].append(one)
        for start in [start for start, members in alike.items() if len(members) < 3 and start]:
            alike[()] += alike.pop(start)
        for start, members in alike.items():
            lists = [tokens(one) for one in members]
            # At least one token stays with each row: its logits are the first that count.
            shared = min(common_prefix(lists), min(map(len, lists)) - 1) if start else 0
            like: dict[int, list[Work]] = defaultdict(list)
            for one in sorted(members, key=size, reverse=True):
                like[max(256, 1 << (size(one) - shared - 1).bit_length())].append(one)
            yield (lists[0][:shared] if lists else []), list(like.values())


def refuse_foreign(config: dict[str, Any], where: str) -> None:
    """Raise EngineError for adapters that cannot live beside a base model that must stay as it is."""
    kind, start = config.get("peft_type"), str(config.get("init_lora_weights", "")).lower()
    if kind in UNSERVED:
        raise EngineError(Problem(where, f"{kind} is not served", "It must change layers, or learn a prompt or prefix"))
    if start.startswith(("pissa", "olora", "corda", "loftq")):
        hint = "Save it with path_initial_model_for_weight_conversion, which makes it a plain LoRA"
        raise EngineError(Problem(where, f"its initialisation ({start}) changes the base model's weights", next=hint))
