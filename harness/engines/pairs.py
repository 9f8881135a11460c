"""How choices are scored after a text: the tokens of each, split exactly as lm-eval splits them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefix:
    """The token that stands before a text which has no context: BOS, else EOS."""

    id: int
    text: str

    def begins(self, text: str) -> bool:
        """Whether the text brings this token itself, so that none is put before it."""
        return text.startswith(self.text)


def encode_choices(
    encode: Callable[[str, bool], list[int]], prefix: Prefix, context: str, choices: Sequence[str]
) -> tuple[list[int], list[list[int]]]:
    """Token ids of the context, and of each choice after it.

    `encode(text, special)` adds the tokenizer's special tokens when `special`. White
    space at the end of the context goes to the choice, and both are encoded as one
    text, since most tokenizers join a space with the word that follows it. Raises
    ValueError when a choice has no token of its own.
    """
    body = context.rstrip()
    texts = [context[len(body) :] + choice for choice in choices]
    if body:
        special = not prefix.begins(body)
        before = encode(body, special)
        after = [encode(body + text, special)[len(before) :] for text in texts]
    else:
        before = [prefix.id]
        plain = [encode(text, False) for text in texts]
        after = [tokens[1:] if tokens[:1] == before else tokens for tokens in plain]
    for choice, tokens in zip(choices, after, strict=True):
        if not tokens:
            raise ValueError(f"the choice {choice!r} has no token of its own after its context")
    return before, after
