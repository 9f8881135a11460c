"""The running vLLM server as an Engine: one server answers for the base model and every adapter.

Adapters are loaded at run time, and requests for all of them are mixed in flight.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harness.engines.base import Adapter, Answer, Request
from harness.engines.guard import GuardedProcess
from harness.engines.http import CallError, OpenAIClient, concurrently
from harness.engines.pairs import Prefix, encode_choices
from harness.engines.probe import Fingerprint, check_identity, fingerprint
from harness.engines.vllm.adapters import check_adapter
from harness.engines.vllm.flags import BASE, Settings, server_command, server_environment
from harness.errors import EngineError
from harness.models import LocalModel
from harness.records import Conditions, Message

CALL_LIMIT_S: Final = 1800.0
"""How long one call may take: a long queue on a slow machine is not a fault."""
SAMPLING: Final[dict[str, Any]] = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": True}
"""Sampling parameters that only vLLM knows, stated in every request, so that no default decides."""


class VllmEngine:
    """A vLLM server as a child process; see `Engine` for the contract."""

    def __init__(
        self,
        model: LocalModel,
        adapters: Sequence[Adapter] = (),
        *,
        python: str,
        log: Path,
        settings: Settings | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        settings = settings or Settings(max_adapters=len(adapters))
        self._model, self._settings, self._note = model, settings, note
        self._adapters: dict[str, Adapter] = {}
        self._alone: dict[str | None, Fingerprint] = {}
        api_key, port = secrets.token_urlsafe(32), _free_port()
        self._client = OpenAIClient(f"http://127.0.0.1:{port}", api_key=api_key, timeout_s=CALL_LIMIT_S)
        command = server_command(python, model, settings, port)
        environment = server_environment(settings, model, api_key)
        self._process = GuardedProcess(command, env=environment, log=log)
        try:
            self.startup_s = self._wait_until_up(OpenAIClient(self._client.url, api_key=api_key, attempts=1))
            version = str(self._client.call("GET", "/version")["version"])
            self._prefix, ends = self._prefix_token(), self._end_tokens()
            self._extra = SAMPLING | {"stop_token_ids": ends}
            if settings.max_adapters:
                self._alone[None] = fingerprint(self, None)
            for adapter in adapters:
                self.load_adapter(adapter)
        except BaseException:
            self.close()
            raise
        self.conditions = Conditions(
            engine="vllm",
            engine_version=version,
            dtype=settings.resolved_dtype,
            device=settings.device,
            chat_template_digest=model.ref.chat_template_digest,
            flags={
                "max_model_len": str(settings.context(model)),
                "end_tokens": ",".join(map(str, ends)),
                **{name: str(value) for name, value in settings.extra.items()},
            },
        )

    @property
    def group(self) -> int:
        """Process group of the server and all its workers."""
        return self._process.group

    @property
    def url(self) -> str:
        """Where the server listens, on this machine only."""
        return self._client.url

    def answer(self, requests: Sequence[Request], adapter: str | None = None) -> Iterator[tuple[int, Answer]]:
        """See `Engine.answer`. Calls for several adapters may run at once, from several threads."""
        if adapter is not None and adapter not in self._adapters:
            raise EngineError(f"no adapter {adapter!r} is loaded; loaded: {', '.join(self._adapters) or 'none'}.")
        name = adapter or BASE
        try:
            yield from concurrently(
                lambda request: self._one(name, request),
                requests,
                self._settings.resolved_concurrency,
                self._client.abort,
            )
        except EngineError as error:
            raise self._died(error) from error

    def load_adapter(self, adapter: Adapter) -> None:
        """Load one more adapter, and prove that base and adapters still answer as themselves."""
        check_adapter(adapter, self._settings)
        if adapter.name in self._adapters or adapter.name == BASE:
            raise EngineError(f"an adapter named {adapter.name!r} is already loaded.")
        if len(self._adapters) >= self._settings.max_adapters:
            raise EngineError(
                f"the server was started for {self._settings.max_adapters} adapter(s); {adapter.name!r} is one more. "
                "Start it with a higher max_adapters."
            )
        payload = {"lora_name": adapter.name, "lora_path": str(Path(adapter.path).resolve())}
        try:
            self._client.call("POST", "/v1/load_lora_adapter", payload)
            listed = {card["id"] for card in self._client.call("GET", "/v1/models")["data"]}
        except CallError as error:
            raise EngineError(f"vLLM cannot load the adapter {adapter.name!r} ({adapter.path}): {error}.") from error
        if adapter.name not in listed:
            raise EngineError(f"vLLM accepted the adapter {adapter.name!r} but does not list it.")
        self._adapters[adapter.name] = adapter
        self._alone[adapter.name] = fingerprint(self, adapter.name)
        check_identity(self, tuple(self._adapters), self._alone)

    def close(self) -> None:
        """Stop the server and all its workers."""
        self._client.close()
        self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_until_up(self, client: OpenAIClient) -> float:
        """Seconds until the server listed its models under our key."""
        started = last_note = time.monotonic()
        try:
            while True:
                elapsed = time.monotonic() - started
                if not self._process.running():
                    raise EngineError(f"vLLM ended while starting. Last lines of its log:\n{self._process.tail()}")
                if elapsed > self._settings.startup_limit_s:
                    raise EngineError(f"vLLM is not up after {elapsed:.0f} s. Last lines:\n{self._process.tail()}")
                if time.monotonic() - last_note >= 5:
                    last_note = time.monotonic()
                    self._note(f"vLLM is starting ({elapsed:.0f} s)")
                try:
                    client.call("GET", "/v1/models")
                except (CallError, EngineError):
                    time.sleep(0.25)
                    continue
                self._note(f"vLLM is up after {elapsed:.0f} s")
                return elapsed
        finally:
            client.close()

    def _died(self, error: EngineError) -> EngineError:
        """The error, with the last lines of the log when the server is no more."""
        if self._process.running():
            return error
        return EngineError(f"the vLLM server died. Last lines of its log:\n{self._process.tail()}")

    def _one(self, name: str, request: Request) -> Answer:
        if request.choices:
            return self._score(name, request)
        if request.text is None:
            answer = self._client.chat(name, request.messages, request.decoding, self._extra)
        else:
            special = {"add_special_tokens": not self._prefix.begins(request.text)}
            answer = self._client.complete(name, request.text, request.decoding, self._extra | special)
        needed, room = (answer.tokens_in or 0) + request.decoding.max_tokens, self._settings.context(self._model)
        if needed > room:
            # vLLM would shorten the answer instead, and a cut answer looks like a wrong one.
            return Answer(error=f"prompt and answer take {needed} tokens, the context holds {room}")
        return answer

    def _score(self, name: str, request: Request) -> Answer:
        """All choices of one item in one call, so that the scheduler sees them together."""
        started = time.monotonic()
        try:
            text = self._chat_text(request.messages) if request.text is None else request.text
            context, choices = encode_choices(self._encode, self._prefix, text, request.choices)
            one_token = all(len(choice) == 1 for choice in choices)
            ask = self._next_token_logprobs if one_token else self._prompt_logprobs
            logprobs, tokens_in = ask(name, context, choices)
            return Answer(
                logprobs=tuple(logprobs), tokens_in=tokens_in, tokens_out=0, latency_s=time.monotonic() - started
            )
        except (CallError, LookupError, ValueError, TypeError) as error:
            return Answer(error=f"log-likelihoods: {error}", latency_s=time.monotonic() - started)

    def _prompt_logprobs(self, name: str, context: list[int], choices: list[list[int]]) -> tuple[list[float], int]:
        """Score each choice as the end of a prompt of its own."""
        prompts = [context + choice for choice in choices]
        body = self._client.call(
            "POST",
            "/v1/completions",
            {"model": name, "prompt": prompts, "max_tokens": 1, "temperature": 0.0, "seed": 0, "prompt_logprobs": 0},
        )
        rows = sorted(body["choices"], key=lambda row: int(row["index"]))
        tails = [row["prompt_logprobs"][len(context) :] for row in rows]
        sums = [_sum(tail, choice) for tail, choice in zip(tails, choices, strict=True)]
        return sums, int(body["usage"]["prompt_tokens"])

    def _next_token_logprobs(self, name: str, context: list[int], choices: list[list[int]]) -> tuple[list[float], int]:
        """Score choices of one token each as candidates for the token after the context, which is computed once."""
        tokens = sorted({choice[0] for choice in choices})
        wanted = {"logprobs": len(tokens), "logprob_token_ids": tokens, "return_tokens_as_token_ids": True}
        body = self._client.call(
            "POST",
            "/v1/completions",
            {"model": name, "prompt": context, "max_tokens": 1, "temperature": 0.0, "seed": 0, **wanted},
        )
        row = body["choices"][0]["logprobs"]["top_logprobs"][0]
        try:
            return [float(row[f"token_id:{choice[0]}"]) for choice in choices], int(body["usage"]["prompt_tokens"])
        except KeyError:  # a server too old to know logprob_token_ids
            return self._prompt_logprobs(name, context, choices)

    def _prefix_token(self) -> Prefix:
        """BOS, else EOS, as lm-eval does."""
        config = _json(self._model.path / "tokenizer_config.json")
        token = config.get("bos_token") or config.get("eos_token")
        text = token["content"] if isinstance(token, dict) else token
        if not text:
            raise EngineError(f"{self._model.ref.name}: the tokenizer has neither a BOS nor an EOS token.")
        (token_id,) = self._encode(text, False)
        return Prefix(token_id, text)

    def _end_tokens(self) -> list[int]:
        """What ends an answer beside the tokenizer's EOS: the config's tokens and the chat template's own.

        vLLM takes them from generation_config.json, which is switched off for its sampling defaults.
        """
        stated = _json(self._model.path / "config.json").get("eos_token_id")
        ends = set(stated if isinstance(stated, list) else [] if stated is None else [stated])
        if self._model.ref.chat_template_digest is not None:
            mark = "mark-of-an-answer"
            turns = (Message(role="user", content="question"), Message(role="assistant", content=mark))
            rest = self._chat_text(turns, answer_follows=False).rpartition(mark)[2].lstrip()
            added = _json(self._model.path / "tokenizer.json").get("added_tokens", ())
            after = self._encode(rest, False)[:1] if rest else []
            ends.update(t for t in after if t in {token["id"] for token in added if token["special"]})
        return sorted(ends)

    def _encode(self, text: str, special: bool) -> list[int]:
        """Token ids by the server's own tokenizer."""
        payload = {"model": BASE, "prompt": text, "add_special_tokens": special}
        return list(self._client.call("POST", "/tokenize", payload)["tokens"])

    def _chat_text(self, messages: Sequence[Message], answer_follows: bool = True) -> str:
        """The turns as the server's chat template renders them."""
        turns = [message.model_dump() for message in messages]
        payload = {"model": BASE, "messages": turns, "add_generation_prompt": answer_follows}
        tokens = self._client.call("POST", "/tokenize", payload)["tokens"]
        return str(self._client.call("POST", "/detokenize", {"model": BASE, "tokens": tokens})["prompt"])


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {}


def _sum(rows: Sequence[dict[str, Any] | None], tokens: Sequence[int]) -> float:
    """Summed log-probability of the tokens; each row holds that of its own token."""
    if None in rows:
        raise ValueError("a token has no log-probability")
    return sum(float(row[str(token)]["logprob"]) for row, token in zip(rows, tokens, strict=True) if row is not None)


def _free_port() -> int:
    """A port that was free a moment ago; the key tells our server from anyone else's who takes it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
