"""Answers of a model in training: greedy texts and log-likelihoods, in batches, equal to what the engines would give.

Prompts are rendered as engines render them and padded on the left, with positions that do not count the padding.
Methods that put learned vectors before the prompt are given prompts of one length at a time: padding between those
vectors and the prompt would shift it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from harness.chat import chat
from harness.models import turns
from harness.probes import Probe
from harness.records import Decoding, Item, Prompt
from harness.trainers.probing import at_rest, split_probe, virtual_tokens

ROWS = {"cpu": 64, "cuda": 256}
"""Prompts that are answered together at most, by device."""
TOKENS = {"cpu": 8192, "cuda": 131072}
"""Tokens of prompts and answers that are held together at most."""

Row = tuple[list[int], list[int]]
"""Tokens of a context, and of what follows it."""


class Answering:
    """Asks one model in training. Weights are left as they are and no random number is drawn."""

    def __init__(self, model: Any, tokenizer: Any, decoding: Decoding, room: int) -> None:
        """decoding: its limit and stop strings; answers are greedy whatever its temperature. room: tokens of the
        model's context."""
        self._model = model
        self._tokenizer = tokenizer
        self._decoding = decoding
        self._room = room
        self._ends = turns.end_tokens(tokenizer, model.config.get_text_config())
        self._virtual = virtual_tokens(model)

    def prompt(self, prompt: Prompt, item: Item) -> list[int] | None:
        """Tokens of an item's prompt; None where prompt and answer do not fit the model's context."""
        text = turns.render(self._tokenizer, chat(prompt, item))
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens if len(tokens) + self._decoding.max_tokens + self._virtual <= self._room else None

    def gold(self, prompt: Prompt, item: Item) -> Row | None:
        """Tokens of the prompt, and of the gold answer with its end of turn, as training renders them; None where
        they do not fit, or the template writes another prompt with an answer than without."""
        asked = chat(prompt, item)
        before = self._tokenizer(turns.render(self._tokenizer, asked), add_special_tokens=False)["input_ids"]
        said = [*(turn.model_dump() for turn in asked), {"role": "assistant", "content": item.target}]
        whole = self._tokenizer.apply_chat_template(said, tokenize=False)
        tokens = self._tokenizer(whole, add_special_tokens=False)["input_ids"]
        fits = len(before) < len(tokens) <= self._room - self._virtual
        return (before, tokens[len(before) :]) if fits and tokens[: len(before)] == before else None

    def choices(self, prompt: Prompt, item: Item) -> list[Row] | None:
        """Tokens of the context and of each choice of an item; None where they do not fit."""
        messages = () if item.text is not None else chat(prompt, item)
        asked = Probe(item.id, item.choices or (), item.text, messages)
        found = split_probe(asked, self._tokenizer, self._room - self._virtual)
        return None if found is None else [(found[0], after) for after in found[1]]

    def texts(self, prompts: Sequence[list[int]]) -> list[str]:
        """Greedy answers, without end of turn and stop strings."""
        found = [""] * len(prompts)
        most = self._decoding.max_tokens
        with _as_served(self._model):
            for batch in self._batches([len(prompt) for prompt in prompts], most, alike=bool(self._virtual)):
                for at, text in zip(batch, self._halving([prompts[at] for at in batch], self._generate), strict=True):
                    found[at] = text
        return found

    def likelihoods(self, rows: Sequence[Row]) -> list[float]:
        """Summed log-likelihood (nats) of what follows each context."""
        found = [0.0] * len(rows)
        with _as_served(self._model):
            for batch in self._batches([len(before) + len(after) for before, after in rows], 0, alike=False):
                for at, value in zip(batch, self._halving([rows[at] for at in batch], self._score), strict=True):
                    found[at] = value
        return found

    def _batches(self, lengths: Sequence[int], more: int, *, alike: bool) -> Iterator[list[int]]:
        """Indices of rows of like length, longest first; alike: of equal length."""
        device = self._model.device.type
        rows, tokens = ROWS.get(device, 64), TOKENS.get(device, 8192)
        batch: list[int] = []
        for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
            full = len(batch) == rows or (batch and (lengths[batch[0]] + more) * (len(batch) + 1) > tokens)
            if full or (alike and batch and lengths[at] != lengths[batch[0]]):
                yield batch
                batch = []
            batch.append(at)
        if batch:
            yield batch

    def _halving(self, batch: Sequence[Any], ask: Any) -> list[Any]:
        """A batch that does not fit the memory beside the training is asked in halves."""
        import torch

        try:
            return list(ask(batch))
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return self._halving(batch[:half], ask) + self._halving(batch[half:], ask)

    def _generate(self, prompts: Sequence[list[int]]) -> list[str]:
        import torch
        from transformers import StoppingCriteriaList

        longest = max(map(len, prompts))
        padding = [longest - len(prompt) for prompt in prompts]
        pad = self._tokenizer.pad_token_id or 0
        device = self._model.device
        made = self._model.generate(
            input_ids=torch.tensor([[pad] * n + p for n, p in zip(padding, prompts, strict=True)], device=device),
            attention_mask=torch.tensor([[0] * n + [1] * (longest - n) for n in padding], device=device),
            generation_config=_greedy(self._decoding.max_tokens, self._ends, pad),
            stopping_criteria=StoppingCriteriaList([self._stopped(longest)] if self._decoding.stop else []),
        )
        return [self._answer(tokens) for tokens in made[:, longest:].tolist()]

    def _stopped(self, start: int) -> Any:
        """Tells of each row whether a stop string stands in its answer; start: where answers begin."""
        import torch

        def stopped(tokens: Any, scores: Any, **_: Any) -> Any:
            texts = [self._text(row) for row in tokens[:, start:].tolist()]
            told = [any(stop in text for stop in self._decoding.stop) for text in texts]
            return torch.tensor(told, device=tokens.device)

        return stopped

    def _answer(self, tokens: list[int]) -> str:
        """The answer in what was generated; what follows its end is padding."""
        end = next((at for at, token in enumerate(tokens) if token in self._ends), len(tokens))
        text = self._text(tokens[:end])
        return text[: min((at for stop in self._decoding.stop if (at := text.find(stop)) >= 0), default=len(text))]

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _score(self, rows: Sequence[Row]) -> list[float]:
        """Padded on the right, so that every method's positions are right; only the logits that count are made."""
        import torch

        longest = max(len(before) + len(after) for before, after in rows)
        whole = [[*before, *after] for before, after in rows]
        device = self._model.device
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in whole], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in whole], device=device)
        kept = longest - min(len(before) for before, _ in rows) + 1
        logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=kept).logits
        first = longest - logits.shape[1]  # the position of the first logits; negative with learned vectors in front
        found = []
        for row, (before, after) in enumerate(rows):
            place = torch.arange(len(before) - 1 - first, len(before) - 1 - first + len(after), device=device)
            told = logits[row, place].float().log_softmax(dim=-1)
            found.append(float(told[torch.arange(len(after)), torch.tensor(after, device=device)].double().sum()))
        return found


def _greedy(most: int, ends: frozenset[int], pad: int) -> Any:
    from transformers import GenerationConfig

    config = GenerationConfig(max_new_tokens=most, do_sample=False, use_cache=True)
    config.eos_token_id, config.pad_token_id = sorted(ends), pad
    return config


@contextmanager
def _as_served(model: Any) -> Iterator[None]:
    """Without dropout, gradients or what a model's own generation config would add."""
    from transformers import GenerationConfig

    holders = [part for part in (model, _base(model)) if hasattr(part, "generation_config")]
    stated = [holder.generation_config for holder in holders]
    for holder in holders:
        holder.generation_config = GenerationConfig()
    try:
        with at_rest(model):
            yield
    finally:
        for holder, config in zip(holders, stated, strict=True):
            holder.generation_config = config


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
