"""The running vLLM server as an Engine: one server answers for the base model and every adapter.

Adapters are loaded at run time, and requests for all of them are mixed in flight.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from harness.engines.base import Adapter, Answer, Engine, Request, refuse_unknown
from harness.engines.http import CallError, Line, concurrently
from harness.engines.openai.client import OpenAIClient
from harness.engines.probe import Fingerprint, check_identity, fingerprint
from harness.engines.vllm.adapters import check_adapter
from harness.engines.vllm.ask import learn
from harness.engines.vllm.flags import BASE, Settings, server_command, server_environment
from harness.errors import EngineError, Problem
from harness.guard import GuardedProcess
from harness.models import LocalModel
from harness.records import Conditions

CALL_LIMIT_S: Final = 1800.0
"""How long one call may take: a long queue on a slow machine is not a fault."""
NOTE_EVERY_S: Final = 5.0


class VllmEngine(Engine):
    """A vLLM server as a child process; see `Engine` for the contract. Threads may share it."""

    conditions: Conditions
    concurrent = True

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
        """Start the server and wait until it answers. Raises EngineError with the last lines of its log."""
        self._settings = settings = settings or Settings(max_adapters=len(adapters))
        self._note = note
        self._adapters: dict[str, Adapter] = {}
        self._alone: dict[str | None, Fingerprint] = {}
        public = settings.public
        api_key, port = (secrets.token_urlsafe(32), _free_port()) if public is None else (public.api_key, public.port)
        if public is not None:
            _refuse_taken(public.host, port)
            if public.adapter:
                check_adapter(Adapter(public.name, public.adapter), settings)
        self.url = f"http://{_own_address(public.host if public else '')}:{port}"
        self._line = Line()
        self._connect = partial(OpenAIClient, self.url, api_key=api_key, timeout_s=CALL_LIMIT_S, line=self._line)
        command = server_command(python, model, settings, port)
        self._process = GuardedProcess(command, env=server_environment(settings, model, api_key), log=log)
        try:
            self.startup_s = self._wait_until_up()
            with self._connect() as client:
                version = str(client.call("GET", "/version")["version"])
                self._asker = learn(client, model, settings.context(model))
            self.conditions = Conditions(
                engine="vllm",
                engine_version=version,
                dtype=settings.resolved_dtype,
                device=settings.device,
                chat_template_digest=model.ref.chat_template_digest,
                flags={
                    "max_model_len": str(self._asker.room),
                    "end_tokens": ",".join(map(str, self._asker.ends)),
                    **{name: str(value) for name, value in settings.extra.items()},
                },
            )
            if settings.max_adapters:
                self._alone[None] = fingerprint(self, None)
            if public is not None and public.adapter:
                self._welcome(Adapter(public.name, public.adapter))
            for adapter in adapters:
                self.load_adapter(adapter)
        except CallError as error:
            self.close()
            raise EngineError(f"the vLLM server came up and then failed: {error}.") from error
        except BaseException:  # Ctrl-C too must not leave a server behind; it is raised again
            self.close()
            raise

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        return self._asker.ends

    def running(self) -> bool:
        """Whether the server still runs."""
        return self._process.running()

    @property
    def group(self) -> int:
        """Process group of the server and all its workers."""
        return self._process.group

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """See `Engine.answer`."""
        refuse_unknown(requests, self._adapters)
        # A client of its own: who stops reading one stream of answers must not break another.
        with self._connect() as client:
            asker = replace(self._asker, client=client)
            ask = lambda request: asker.answer(request.adapter or BASE, request)  # noqa: E731
            try:
                yield from concurrently(ask, requests, self._settings.resolved_concurrency, client.close)
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
            with self._connect() as client:
                client.call("POST", "/v1/load_lora_adapter", payload)
        except CallError as error:
            raise EngineError(f"vLLM cannot load the adapter {adapter.name!r} ({adapter.path}): {error}.") from error
        self._welcome(adapter)

    def _welcome(self, adapter: Adapter) -> None:
        """Prove that an adapter that was loaded is there, and that base and adapters answer as themselves."""
        try:
            with self._connect() as client:
                listed = {card["id"] for card in client.call("GET", "/v1/models")["data"]}
        except CallError as error:
            raise EngineError(f"vLLM does not list its models: {error}.") from error
        if adapter.name not in listed:
            raise EngineError(f"vLLM accepted the adapter {adapter.name!r} but does not list it.")
        self._adapters[adapter.name] = adapter
        self._alone[adapter.name] = fingerprint(self, adapter.name)
        noise = 1e-3 if self.conditions.dtype == "float32" else 0.1
        check_identity(self, tuple(self._adapters), self._alone, noise)

    def close(self) -> None:
        """Stop the server and all its workers."""
        self._line.close()
        self._process.stop()

    def _wait_until_up(self) -> float:
        """Seconds until the server listed its models under our key."""
        started = noted = time.monotonic()
        with self._connect(attempts=1) as client:
            while True:
                elapsed = time.monotonic() - started
                if not self._process.running():
                    raise EngineError(f"vLLM ended while starting. Last lines of its log:\n{self._process.tail()}")
                if elapsed > self._settings.startup_limit_s:
                    raise EngineError(f"vLLM is not up after {elapsed:.0f} s. Last lines:\n{self._process.tail()}")
                if time.monotonic() - noted >= NOTE_EVERY_S:
                    noted = time.monotonic()
                    self._note(f"vLLM is starting ({elapsed:.0f} s)")
                try:
                    client.call("GET", "/v1/models")
                except (CallError, EngineError):
                    time.sleep(0.25)
                    continue
                self._note(f"vLLM is up after {elapsed:.0f} s")
                return elapsed

    def _died(self, error: EngineError) -> EngineError:
        """The error, with the last lines of the log when the server is no more."""
        if self._process.running():
            return error
        return EngineError(f"the vLLM server died. Last lines of its log:\n{self._process.tail()}")


def _own_address(host: str) -> str:
    """Where this machine reaches a server that listens on `host`."""
    if host in ("", "0.0.0.0"):  # noqa: S104  all addresses: the loopback is one of them
        return "127.0.0.1"
    host = "::1" if host == "::" else host
    return f"[{host}]" if ":" in host else host


def _refuse_taken(host: str, port: int) -> None:
    """Raise EngineError where somebody listens already: without a key, their answers would be taken for ours."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as fault:
        what = f"cannot be listened on: {fault.strerror or fault}"
        raise EngineError(Problem(f"{host}:{port}", what, next="Name another one with --port")) from fault


def _free_port() -> int:
    """A port that was free a moment ago; the key tells our server from anyone else's who takes it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
