"""How a choice is scored after a text: the tokens of each, split exactly as lm-eval splits them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefix:
    """The token that stands before a text which has no context: BOS, else EOS."""

    id: int
    text: str


def encode_pair(
    encode: Callable[[str, bool], list[int]], prefix: Prefix, context: str, continuation: str
) -> tuple[list[int], list[int]]:
    """Token ids of the context and of the continuation.

    `encode(text, special)` adds the tokenizer's special tokens when `special`. White
    space at the end of the context goes to the continuation, and both are encoded as
    one text, since most tokenizers join a space with the word that follows it.
    """
    body = context.rstrip()
    continuation = context[len(body) :] + continuation
    if not body:
        tokens = encode(continuation, False)
        return (tokens[:1], tokens[1:]) if tokens[:1] == [prefix.id] else ([prefix.id], tokens)
    special = not keeps_specials(body, prefix)
    before = encode(body, special)
    return before, encode(body + continuation, special)[len(before) :]


def keeps_specials(text: str, prefix: Prefix) -> bool:
    """Whether the text already begins with the prefix token, so that none is added."""
    return text.startswith(prefix.text)
