"""Text to tokens and back, by the rules that lm-eval and vLLM follow too."""

from __future__ import annotations

from typing import Any

from harness.engines.base import Request
from harness.engines.constrain import Masks
from harness.engines.pairs import Prefix, encode_choices
from harness.models import turns


class Codec:
    """Renders requests to token ids and reads answers, with one model's tokenizer and chat template."""

    def __init__(self, tokenizer: Any, config: Any) -> None:
        self._tokenizer = tokenizer
        self.ends = turns.end_tokens(tokenizer, config)
        """Token ids that end an answer."""
        self.masks = Masks(tokenizer, self.ends, config.vocab_size)
        """What constraints allow; loaded with the first one."""
        first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        self._prefix = Prefix(first, tokenizer.decode([first]))

    def prompt(self, request: Request) -> list[int]:
        """Token ids of what the model sees before it answers."""
        if request.text is not None:
            return self.encode(request.text)
        return self._tokens(self._chat(request), False)

    def choices(self, request: Request) -> tuple[list[int], list[list[int]]]:
        """Token ids of the context, which all choices share, and of each choice after it.

        Raises ValueError when a choice has no tokens of its own.
        """
        context = self._chat(request) if request.text is None else request.text
        return encode_choices(self._tokens, self._prefix, context, request.choices)

    def encode(self, text: str) -> list[int]:
        """Token ids of a plain text, with the tokenizer's own special tokens unless the text starts with them."""
        return self._tokens(text, not self._prefix.begins(text))

    def text(self, tokens: list[int]) -> str:
        """The text of answer tokens, special tokens left out, spaces as they are."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _tokens(self, text: str, special: bool) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def _chat(self, request: Request) -> str:
        return turns.render(self._tokenizer, request.messages)


def cut_at_stop(text: str, stops: tuple[str, ...]) -> str | None:
    """The text before the first stop string in it, or None when there is none."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else None


def common_prefix(lists: list[list[int]]) -> int:
    """How many leading tokens all lists share."""
    low, high = min(lists), max(lists)  # any two lists share at least what these two share
    same = 0
    for one, other in zip(low, high, strict=False):
        if one != other:
            break
        same += 1
    return same
