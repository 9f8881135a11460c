"""A server that runs elsewhere and speaks OpenAI's API, as an Engine: asked over its URL, never started.

What only vLLM's server can do (constraints of every kind, log-likelihoods of choices) is done where the server
says that it is one; elsewhere such a request is answered with an error that says so.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from harness.engines.base import Adapter, Answer, Engine, Request, refuse_unknown
from harness.engines.http import CallError, Line, Refused, concurrently
from harness.engines.openai.client import OpenAIClient
from harness.engines.pairs import Prefix
from harness.engines.vllm.ask import Asker, decode, encode, learn
from harness.errors import EngineError, Problem, did_you_mean
from harness.models import LocalModel
from harness.records import Conditions, Constraint

KEY_VARIABLE: Final = "HARNESS_API_KEY"
"""Environment variable that holds the key, unless another is named."""
CONCURRENCY: Final = 16
"""Requests in flight where none are stated."""
ATTEMPTS: Final = 8
"""How often a call is tried: hosted servers limit rates."""
UNKNOWN: Final = "unknown"
ONLY_VLLM: Final = "vLLM's server offers it (serve.engine: vllm, or the URL of one), and so does engine: transformers"


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a server is, and what it is asked for."""

    url: str
    """URL of the API, usually ending in `/v1`."""
    api_model: str = ""
    """Name by which the server knows the base model; empty: the only one that it lists."""
    key_env: str = KEY_VARIABLE
    """Environment variable that holds the API key; unset or empty: no key is sent."""
    adapter_models: Mapping[str, str] | None = None
    """Name of an adapter to the name by which the server knows it."""
    max_model_len: int | None = None
    """Longest prompt plus answer in tokens; None: as the server says, if it does."""
    concurrency: int | None = None
    """Requests in flight."""
    timeout_s: float = 600.0
    """Seconds that one answer may take."""


class OpenAIEngine(Engine):
    """One model of a running server, and adapters that it knows by name; see `Engine`. Threads may share it."""

    conditions: Conditions
    concurrent = True

    def __init__(self, model: LocalModel, remote: Remote, note: Callable[[str], None] = lambda text: None) -> None:
        """Ask the server who it is. Raises EngineError: unreachable, wrong key, unknown model."""
        self._remote = remote
        self._loaded: dict[str, str] = {}
        key = os.environ.get(remote.key_env, "").strip() or None
        self._line = Line()
        self._connect = partial(
            OpenAIClient, remote.url, api_key=key, timeout_s=remote.timeout_s, attempts=ATTEMPTS, line=self._line
        )
        if warning := exposed(remote.url, key is not None):
            note(warning)
        with self._connect(line=None) as client:
            cards = _listed(client, remote.key_env, key is not None)
            self._names = tuple(str(card["id"]) for card in cards)
            self._base = _served_name(model, remote.api_model, self._names)
            said = client.probe("/version")
            version = said.get("version") if isinstance(said, dict) else None
            # Every card, since a router may list other servers' models beside its own.
            is_vllm = version is not None and {card.get("owned_by") for card in cards} == {"vllm"}
            room = remote.max_model_len or next(
                (card.get("max_model_len") for card in cards if card["id"] == self._base), None
            )
            self._asker = _vllm_asker(client, model, self._base, room) if is_vllm else None
        flags = {"server": urlsplit(remote.url).netloc, "model": self._base}
        if room:
            flags["max_model_len"] = str(room)
        if is_vllm:
            flags["kind"] = "vllm"
        self.conditions = Conditions(
            engine="openai",
            engine_version=str(version or UNKNOWN),
            dtype="remote",
            device="remote",
            chat_template_digest=None,
            flags=flags,
        )

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """See `Engine.answer`."""
        refuse_unknown(requests, self._loaded)
        # A client of its own: who stops reading one stream of answers must not break another.
        with self._connect() as client:
            ask = replace(self._asker, client=client).answer if self._asker is not None else partial(_answer, client)
            checked = lambda request: _obeying(request, ask(self._name(request.adapter), request))  # noqa: E731
            yield from concurrently(checked, requests, self._remote.concurrency or CONCURRENCY, client.close)

    def _name(self, adapter: str | None) -> str:
        """What the server calls it."""
        return self._base if adapter is None else self._loaded[adapter]

    def load_adapter(self, adapter: Adapter) -> None:
        """Ask for an adapter by the name that the server knows it by. Raises EngineError when none is stated."""
        server = self.conditions.flags["server"]
        name = (self._remote.adapter_models or {}).get(adapter.name)
        if adapter.remote:  # made after the server was asked what it lists; an endpoint of its own has its own name
            self._loaded[adapter.name] = name or adapter.remote
            return
        if name is None:
            hint = f"Serve {adapter.path} there and state its name: serve.adapter_models: {{{adapter.name}: NAME}}"
            raise EngineError(Problem("", f"no adapter can be loaded into the server at {server}", next=hint))
        if self._names and name not in self._names:
            what = f"the server at {server} does not list {name!r}"
            raise EngineError(
                Problem(f"serve.adapter_models.{adapter.name}", what, did_you_mean(name, list(self._names)))
            )
        self._loaded[adapter.name] = name

    def close(self) -> None:
        """Let go of the connections; the server is someone else's."""
        self._line.close()


def exposed(url: str, with_key: bool) -> str:
    """A sentence where what is sent can be read on its way, else empty."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
    if parts.scheme == "https" or local:
        return ""
    what = "the API key and all questions and answers" if with_key else "all questions and answers"
    return f"{what} travel unencrypted to {host}; use https where it is not a network of your own"


def _listed(client: OpenAIClient, key_env: str, with_key: bool) -> list[dict[str, Any]]:
    """The models that the server lists, with what it says of each; empty where it lists none."""
    try:
        # Few attempts: a mistyped URL should be told at once.
        body = client.call("GET", f"{client.api}/models", attempts=3)
    except Refused as refusal:
        if refusal.status == 401:
            state = f"The key in {key_env} is not accepted" if with_key else f"No key was sent: {key_env} is not set"
            raise EngineError(Problem("", str(refusal), next=f"{state}; put the server's key into it")) from None
        if refusal.status == 404:
            return []
        raise
    except CallError:
        return []
    cards = body.get("data") if isinstance(body, dict) else None
    return [card for card in cards or () if isinstance(card, dict) and isinstance(card.get("id"), str)]


def _served_name(model: LocalModel, stated: str, names: Sequence[str]) -> str:
    """The server's name for the base model: as stated, else that of `openai:NAME`, else the only one listed."""
    wanted = stated or model.remote_name or ""
    if not wanted:
        if len(names) != 1:
            known = f"It lists: {', '.join(names[:20])}" if names else "It lists no models"
            raise EngineError(Problem("serve.api_model", "is missing", known, "Name the model that the server serves"))
        return names[0]
    if names and wanted not in names:
        where = "serve.api_model" if stated else "model"
        raise EngineError(Problem(where, f"the server does not list {wanted!r}", did_you_mean(wanted, names[:50])))
    return wanted


def _vllm_asker(client: OpenAIClient, model: LocalModel, base: str, room: int | None) -> Asker:
    """Questions as the vLLM engine asks them; from the server alone where the model's files are not at hand."""
    try:
        if model.remote_name is None:
            return learn(client, model, room or model.context_length, base)
        first = encode(client, "", True, base)[:1]
        # Without BOS, what begins a text is not known, and a choice without a context is refused by the server.
        prefix = Prefix(first[0], decode(client, first, base)) if first else Prefix(-1, "\0")
        return Asker(client, prefix, (), room or model.context_length, base)
    except CallError as error:
        raise EngineError(f"the vLLM server at {client.url} does not tell its tokens: {error}.") from error


def _answer(client: OpenAIClient, name: str, request: Request) -> Answer:
    """The answer of a server of which nothing more is known than that it speaks OpenAI's API."""
    if request.choices:
        return Answer(error=f"this server gives no log-likelihoods of choices; {ONLY_VLLM}")
    constraint = request.decoding.constraint
    if constraint is not None and (constraint.json_schema is None or request.text is not None):
        what = "JSON Schema after a plain text" if constraint.json_schema is not None else "choices or a regex"
        return Answer(error=f"this server cannot constrain an answer to {what}; {ONLY_VLLM}")
    if request.text is not None:
        return client.complete(name, request.text, request.decoding, {})
    return client.chat(name, request.messages, request.decoding, _response_format(constraint))


def _response_format(constraint: Constraint | None) -> dict[str, Any]:
    if constraint is None:
        return {}
    schema = {"name": "answer", "schema": constraint.json_schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _obeying(request: Request, answer: Answer) -> Answer:
    """The answer, or an error where the server has plainly passed over the constraint."""
    constraint = request.decoding.constraint
    if constraint is None or answer.text is None or answer.finish != "stop" or request.decoding.stop:
        return answer
    obeyed = answer.text in constraint.choices if constraint.choices else True
    if constraint.json_schema is not None:
        try:
            json.loads(answer.text)
        except ValueError:
            obeyed = False
    if obeyed:
        return answer
    return replace(answer, text=None, error=f"the server passed over the constraint: {answer.text[:80]!r}")
