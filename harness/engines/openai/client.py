"""The OpenAI calls that engines use: chat, completions, and what their parameters are called."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.engines.base import Answer
from harness.engines.http import CallError, HttpClient
from harness.records import Decoding, Message


class OpenAIClient(HttpClient):
    """The OpenAI calls of one server. `extra` holds what only some servers understand.

    The URL is that of the API, usually ending in `/v1`, or the server's own, to which `/v1` is then added.
    """

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__(url, **settings)
        self.api = "/v1" if self.path in ("", "/v1") or self.path.endswith("/v1") else ""
        """What stands before the name of a call; other calls of the server stand beside it."""
        self.path = self.path.removesuffix(self.api)

    def chat(self, model: str, messages: Sequence[Message], decoding: Decoding, extra: Mapping[str, Any]) -> Answer:
        """One assistant turn after `messages`, rendered by the server's chat template."""
        payload = chat_body(model, messages, decoding, extra)
        return self._generated("/chat/completions", payload, lambda choice: choice["message"]["content"])

    def complete(self, model: str, text: str, decoding: Decoding, extra: Mapping[str, Any]) -> Answer:
        """The continuation of a plain text."""
        payload = {"model": model, "prompt": text, **sampling(decoding), **extra}
        return self._generated("/completions", payload, lambda choice: choice["text"])

    def _generated(self, path: str, payload: Mapping[str, Any], text_of: Callable[[Any], Any]) -> Answer:
        started = time.monotonic()
        try:
            body = self.call("POST", self.api + path, payload)
            choice, usage = body["choices"][0], body.get("usage") or {}
            text, finish = text_of(choice), choice.get("finish_reason")
            if not isinstance(text, str) or finish not in ("stop", "length"):
                raise CallError(f"no usable answer: finish_reason {finish!r}, text {text!r:.80}")
            return Answer(
                text=text,
                finish=finish,
                tokens_in=usage.get("prompt_tokens"),
                tokens_out=usage.get("completion_tokens"),
                latency_s=time.monotonic() - started,
            )
        except CallError as error:
            return Answer(error=str(error), latency_s=time.monotonic() - started)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            return Answer(error=f"the answer does not have the expected form: {error!r}")


def chat_body(model: str, messages: Sequence[Message], decoding: Decoding, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent for one assistant turn after `messages`."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return {"model": model, "messages": turns, **sampling(decoding), **extra}


def sampling(decoding: Decoding) -> dict[str, Any]:
    """Every sampling parameter of the OpenAI API, stated, so that no server default decides."""
    return {
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "stop": list(decoding.stop) or None,  # OpenAI's own server refuses an empty list
        "seed": decoding.seed,
        "n": 1,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stream": False,
    }
