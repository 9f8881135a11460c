"""What is asked of a running vLLM server, and how its answers are read.

The tokens of a choice are split as lm-eval splits them, by the server's own
tokenizer. vLLM computes a prompt whole when its log-probabilities are wanted, so
choices of one token, the usual ones, are scored as candidates for the next token
instead: one prompt for all of them, and the prefix cache counts again. That goes for up to
`MOST_LOGPROBS` different choices; more are scored as prompts.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.engines.base import Answer, Request
from harness.engines.constrain import structured_outputs
from harness.engines.http import CallError
from harness.engines.openai.client import OpenAIClient
from harness.engines.pairs import Prefix, encode_choices
from harness.engines.vllm.flags import BASE
from harness.errors import EngineError
from harness.models import LocalModel
from harness.records import Decoding, Message

SAMPLING: Final[dict[str, Any]] = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": True}
"""Sampling parameters that only vLLM knows, stated in every request, so that no default decides."""

MOST_LOGPROBS: Final = 20
"""Candidates for one token that a server answers for (its `--max-logprobs`); it refuses more."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Questions to one server over one client; for many threads at once."""

    client: OpenAIClient
    prefix: Prefix
    """What stands before a text without context."""
    ends: tuple[int, ...]
    """Tokens that end an answer."""
    room: int
    """Tokens that prompt and answer may take together."""
    base: str = BASE
    """Name of the base model, whose tokenizer all share."""

    def answer(self, name: str, request: Request) -> Answer:
        """The answer of the model that the server knows as `name`."""
        if request.choices:
            return self._score(name, request)
        extra = beyond_openai(request.decoding, self.ends)
        if request.text is None:
            answer = self.client.chat(name, request.messages, request.decoding, extra)
        else:
            special = {"add_special_tokens": not self.prefix.begins(request.text)}
            answer = self.client.complete(name, request.text, request.decoding, extra | special)
        needed, room = (answer.tokens_in or 0) + request.decoding.max_tokens, self.room
        if needed > room:
            # vLLM would shorten the answer instead, and a cut answer looks like a wrong one.
            return Answer(error=f"prompt and answer take {needed} tokens, the context holds {room}")
        return answer

    def _score(self, name: str, request: Request) -> Answer:
        """All choices of one item in one call, so that the scheduler sees them together."""
        started = time.monotonic()
        try:
            text = chat_text(self.client, request.messages, self.base) if request.text is None else request.text
            context, choices = encode_choices(
                lambda text, special: encode(self.client, text, special, self.base), self.prefix, text, request.choices
            )
            if len(choices) == 1:
                (tail,), tokens_in = self._prompt_rows(name, context, choices)
                seconds = time.monotonic() - started
                sums = (_sum(tail, choices[0]),)
                return Answer(logprobs=sums, greedy=_likeliest(tail, choices[0]), tokens_in=tokens_in, tokens_out=0,
                              latency_s=seconds)  # fmt: skip
            tokens = {token for choice in choices for token in choice}
            next_token = len(tokens) <= MOST_LOGPROBS and all(len(choice) == 1 for choice in choices)
            ask = self._next_token_logprobs if next_token else self._prompt_logprobs
            logprobs, tokens_in = ask(name, context, choices)
            return Answer(
                logprobs=tuple(logprobs), tokens_in=tokens_in, tokens_out=0, latency_s=time.monotonic() - started
            )
        except (CallError, LookupError, ValueError, TypeError) as error:
            return Answer(error=f"log-likelihoods: {error}", latency_s=time.monotonic() - started)

    def _prompt_logprobs(self, name: str, context: list[int], choices: list[list[int]]) -> tuple[list[float], int]:
        """Score each choice as the end of a prompt of its own."""
        tails, tokens_in = self._prompt_rows(name, context, choices)
        return [_sum(tail, choice) for tail, choice in zip(tails, choices, strict=True)], tokens_in

    def _prompt_rows(
        self, name: str, context: list[int], choices: list[list[int]]
    ) -> tuple[list[list[dict[str, Any] | None]], int]:
        """What the server says of each token of each choice, and the tokens that it read."""
        prompts = [context + choice for choice in choices]
        body = self.client.call(
            "POST",
            "/v1/completions",
            {"model": name, "prompt": prompts, "max_tokens": 1, "temperature": 0.0, "seed": 0, "prompt_logprobs": 0},
        )
        rows = sorted(body["choices"], key=lambda row: int(row["index"]))
        return [row["prompt_logprobs"][len(context) :] for row in rows], int(body["usage"]["prompt_tokens"])

    def _next_token_logprobs(self, name: str, context: list[int], choices: list[list[int]]) -> tuple[list[float], int]:
        """Score choices of one token each as candidates for the token after the context, which is computed once."""
        tokens = sorted({choice[0] for choice in choices})
        wanted = {"logprobs": len(tokens), "logprob_token_ids": tokens, "return_tokens_as_token_ids": True}
        body = self.client.call(
            "POST",
            "/v1/completions",
            {"model": name, "prompt": context, "max_tokens": 1, "temperature": 0.0, "seed": 0, **wanted},
        )
        row = body["choices"][0]["logprobs"]["top_logprobs"][0]
        try:
            return [float(row[f"token_id:{choice[0]}"]) for choice in choices], int(body["usage"]["prompt_tokens"])
        except KeyError:  # a server too old to know logprob_token_ids
            return self._prompt_logprobs(name, context, choices)


def beyond_openai(decoding: Decoding, ends: Sequence[int]) -> dict[str, Any]:
    """What only vLLM understands of a request, stated: sampling, tokens that end an answer, a constraint."""
    extra = SAMPLING | {"stop_token_ids": list(ends)}
    if decoding.constraint is not None:
        extra["structured_outputs"] = structured_outputs(decoding.constraint)
    return extra


def learn(client: OpenAIClient, model: LocalModel, room: int, base: str = BASE) -> Asker:
    """An asker that knows the model's tokens, from its files and from the server's tokenizer."""
    prefix_text = _prefix_text(model)
    (prefix_id,) = encode(client, prefix_text, False, base)
    return Asker(client, Prefix(prefix_id, prefix_text), _end_tokens(client, model, base), room, base)


def encode(client: OpenAIClient, text: str, special: bool, base: str) -> list[int]:
    """Token ids by the server's own tokenizer, with its special tokens when `special`."""
    payload = {"model": base, "prompt": text, "add_special_tokens": special}
    return list(client.call("POST", "/tokenize", payload)["tokens"])


def decode(client: OpenAIClient, tokens: Sequence[int], base: str) -> str:
    """The text of tokens, special ones included."""
    return str(client.call("POST", "/detokenize", {"model": base, "tokens": list(tokens)})["prompt"])


def chat_text(client: OpenAIClient, messages: Sequence[Message], base: str, answer_follows: bool = True) -> str:
    """The turns as the server's chat template renders them."""
    turns = [message.model_dump() for message in messages]
    payload = {"model": base, "messages": turns, "add_generation_prompt": answer_follows}
    return decode(client, client.call("POST", "/tokenize", payload)["tokens"], base)


def _prefix_text(model: LocalModel) -> str:
    """BOS, else EOS, as lm-eval does."""
    config = _json(model.path / "tokenizer_config.json")
    token = config.get("bos_token") or config.get("eos_token")
    text = token["content"] if isinstance(token, dict) else token
    if not text:
        raise EngineError(f"{model.ref.name}: the tokenizer has neither a BOS nor an EOS token.")
    return str(text)


def _end_tokens(client: OpenAIClient, model: LocalModel, base: str) -> tuple[int, ...]:
    """What ends an answer beside the tokenizer's EOS: the config's tokens and the chat template's own.

    vLLM takes them from generation_config.json, which is switched off for its sampling defaults.
    """
    stated = _json(model.path / "config.json").get("eos_token_id")
    ends = set(stated if isinstance(stated, list) else [] if stated is None else [stated])
    if model.ref.chat_template_digest is not None:
        mark = "mark-of-an-answer"
        turns = (Message(role="user", content="question"), Message(role="assistant", content=mark))
        rest = chat_text(client, turns, base, answer_follows=False).rpartition(mark)[2].lstrip()
        special = {
            token["id"] for token in _json(model.path / "tokenizer.json").get("added_tokens", ()) if token["special"]
        }
        ends.update(token for token in (encode(client, rest, False, base)[:1] if rest else ()) if token in special)
    return tuple(sorted(ends))


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {}


def _sum(rows: Sequence[dict[str, Any] | None], tokens: Sequence[int]) -> float:
    """Summed log-probability of the tokens; each row holds that of its own token."""
    if None in rows:
        raise ValueError("a token has no log-probability")
    return sum(float(row[str(token)]["logprob"]) for row, token in zip(rows, tokens, strict=True) if row is not None)


def _likeliest(rows: Sequence[dict[str, Any] | None], tokens: Sequence[int]) -> bool | None:
    """Whether each token is the likeliest one; None where the server ranks none."""
    ranks = [None if row is None else row[str(token)].get("rank") for row, token in zip(rows, tokens, strict=True)]
    return None if None in ranks else all(rank == 1 for rank in ranks)
