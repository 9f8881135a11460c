"""Text to tokens and back, by the rules that lm-eval and vLLM follow too."""

from __future__ import annotations

from typing import Any

from harness.engines.base import Request


class Codec:
    """Renders requests to token ids and reads answers, with one model's tokenizer and chat template."""

    def __init__(self, tokenizer: Any, config: Any) -> None:
        self._tokenizer = tokenizer
        self.ends = end_tokens(tokenizer, config)
        """Token ids that end an answer."""
        # What stands before a text whose context is empty: BOS, or EOS for models without one.
        self._first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id

    def prompt(self, request: Request) -> list[int]:
        """Token ids of what the model sees before it answers."""
        if request.text is not None:
            return self.encode(request.text)
        return list(self._tokenizer(self._chat(request), add_special_tokens=False)["input_ids"])

    def choices(self, request: Request) -> tuple[list[int], list[list[int]]]:
        """Token ids of the context, and of each choice after it, split as lm-eval splits them.

        Raises ValueError when a choice has no tokens of its own.
        """
        context = self._chat(request) if request.text is None else request.text
        spaces = context[len(context.rstrip()) :]
        context = context.rstrip()
        # Trailing spaces belong to the first token of what follows.
        texts = [spaces + choice for choice in request.choices]
        if not context:
            before = [self._first]
            after = [list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
            # lm-eval does not put the first token twice; the context stays the same either way.
            after = [tokens[1:] if tokens[:1] == before else tokens for tokens in after]
        else:
            before = self.encode(context)
            after = [self.encode(context + text)[len(before) :] for text in texts]
        for choice, tokens in zip(request.choices, after, strict=True):
            if not tokens:
                raise ValueError(f"the choice {choice!r} has no tokens after its context")
        return before, after

    def encode(self, text: str) -> list[int]:
        """Token ids of a plain text, with the tokenizer's own special tokens unless the text starts with them."""
        special = not (self._first is not None and text.startswith(self._tokenizer.decode([self._first])))
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def text(self, tokens: list[int]) -> str:
        """The text of answer tokens, special tokens left out, spaces as they are."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _chat(self, request: Request) -> str:
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


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
