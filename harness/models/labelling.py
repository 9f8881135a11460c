"""A classifier over a base model: a head that names one of its labels, with or without an adapter beneath it.

    classifier.json          {"labels": [...]}
    head.safetensors         the head's weights, over the base model as it is; or
    adapter_model.safetensors, adapter_config.json   PEFT's, the head's weights among them

What is asked is rendered by the base model's chat template, as for an answer; the head reads its last token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from harness.errors import ModelError, Problem
from harness.models import turns
from harness.models.folder import LocalModel
from harness.models.quiet import quiet
from harness.records import Message

LABELS: Final = "classifier.json"
HEAD: Final = "head.safetensors"
TOKENS: Final = 8192
"""Tokens of a batch at most, padding included."""


def is_classifier(folder: Path) -> bool:
    """Whether a folder holds a label head."""
    return (folder / LABELS).is_file()


def with_head(model: LocalModel, labels: Sequence[str], dtype: str, device: str) -> tuple[Any, Any]:
    """The base model under a new head, and its tokenizer. Raises ModelError where transformers has none for it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model.path), **model.safely)
    try:
        made = AutoModelForSequenceClassification.from_pretrained(
            str(model.path), num_labels=len(labels), dtype=getattr(torch, dtype), use_safetensors=True, **model.safely
        )
    except (OSError, ValueError) as fault:
        what = f"cannot be had with a label head: {fault}"
        raise ModelError(Problem(f"model {model.ref.name!r}", what)) from fault
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    made.config.get_text_config().pad_token_id = made.config.pad_token_id = pad
    return made.to(device), tokenizer


def encode(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The tokens that the head reads: the turns up to where an answer would begin."""
    return list(tokenizer(turns.render(tokenizer, messages), add_special_tokens=False)["input_ids"])


class Labeller:
    """A trained classifier, ready to be asked."""

    def __init__(self, model: Any, tokenizer: Any, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._model, self._tokenizer = model, tokenizer

    def label(self, asked: Sequence[Sequence[Message]]) -> list[tuple[str, int]]:
        """The likeliest label for each question's turns, and how many tokens were read."""
        import torch

        rows = [encode(self._tokenizer, messages) for messages in asked]
        pad, was_training = self._model.config.get_text_config().pad_token_id, self._model.training
        order = sorted(range(len(rows)), key=lambda at: -len(rows[at]))
        found: list[tuple[str, int]] = [("", 0)] * len(rows)
        self._model.eval()
        while order:
            width = len(rows[order[0]])
            batch, order = order[: max(1, TOKENS // width)], order[max(1, TOKENS // width) :]
            ids = torch.tensor([rows[at] + [pad] * (width - len(rows[at])) for at in batch])
            mask = torch.tensor([[1] * len(rows[at]) + [0] * (width - len(rows[at])) for at in batch])
            device = next(self._model.parameters()).device
            with torch.inference_mode():
                scores = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
            for at, best in zip(batch, scores.argmax(-1).tolist(), strict=True):
                found[at] = self.labels[best], len(rows[at])
        self._model.train(was_training)
        return found


def open_labeller(model: LocalModel, folder: Path, dtype: str, device: str) -> Labeller:
    """Load a published classifier over its base model. Raises ModelError when it does not fit it."""
    from safetensors.torch import load_file

    labels = json.loads((folder / LABELS).read_text(encoding="utf-8"))["labels"]
    with quiet():
        made, tokenizer = with_head(model, labels, dtype, device)
        try:
            if (folder / HEAD).is_file():
                made.load_state_dict(load_file(folder / HEAD, device=device), strict=False)
            else:
                from peft import PeftModel

                made = PeftModel.from_pretrained(made, str(folder))
        except (OSError, ValueError, RuntimeError, KeyError) as fault:
            raise ModelError(Problem(str(folder), f"does not fit {model.ref.name!r}: {fault}")) from fault
    return Labeller(made, tokenizer, labels)
