"""Turns as a model sees them: the prompt's text by its chat template, and the tokens that end an answer.

Engines serve by these two functions and trainers check their rows against them, so
that what was learned is what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.records import Message


def render(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The prompt's text up to where the answer begins; it is encoded without further special tokens."""
    turns = [turn.model_dump() for turn in messages]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def end_tokens(tokenizer: Any, config: Any) -> frozenset[int]:
    """Ids of the tokens that end a turn: the tokenizer's, the config's and the chat template's own.

    The last is read from the template itself, since the end-of-sequence token of many models is another one.
    """
    stated = config.eos_token_id
    ends = {tokenizer.eos_token_id, *(stated if isinstance(stated, (list, tuple)) else [stated])}
    mark = "mark-of-an-answer"
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": mark}]
    rest = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(mark)[2]
    after = tokenizer(rest.lstrip(), add_special_tokens=False)["input_ids"]
    if after and after[0] in tokenizer.all_special_ids:
        ends.add(after[0])
    return frozenset(end for end in ends if end is not None)
