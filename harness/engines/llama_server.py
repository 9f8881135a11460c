"""llama.cpp's server as a child process over one GGUF file. The only file that knows its flags."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.engines.base import Adapter, Answer, Engine, Request
from harness.engines.openai.engine import OpenAIEngine, Remote
from harness.errors import EngineError, Problem
from harness.guard import GuardedProcess
from harness.models import LocalModel
from harness.records import Conditions

VARIABLE: Final = "HARNESS_LLAMA_SERVER"
"""Names the program; else `llama-server` is looked for on the PATH."""
KEY: Final = "HARNESS_LLAMA_SERVER_KEY"
"""Where the key of our own server is handed to the client; it is made for each server and written nowhere."""
STARTUP_S: Final = 600.0
TOGETHER: Final = 4
"""Requests in flight; each has the whole context."""


def find() -> str | None:
    """The program's path; None where llama.cpp's server is not installed."""
    named = os.environ.get(VARIABLE)
    return shutil.which(named) if named else shutil.which("llama-server")


class LlamaServer(Engine):
    """Answers with one GGUF file, its chat template and tokenizer as llama.cpp reads them; see `Engine`."""

    conditions: Conditions
    concurrent = True

    def __init__(
        self, program: str, file: Path, model: LocalModel, *, log: Path, note: Callable[[str], None] = lambda text: None
    ) -> None:
        """model: the model that the file was made of, for its context length.

        Raises EngineError with the last lines of its log.
        """
        key, port, room = secrets.token_urlsafe(32), _free_port(), min(model.context_length, 8192)
        command = [program, "--model", str(file), "--host", "127.0.0.1", "--port", str(port), "--alias", "export"]
        command += [
            "--ctx-size",
            str(room * TOGETHER),
            "--parallel",
            str(TOGETHER),
            "--jinja",
            "--no-webui",
            "--offline",
        ]
        self._process = GuardedProcess(command, env={**os.environ, "LLAMA_API_KEY": key}, log=log)
        try:
            with _in_environment(KEY, key):
                self._asked = self._connected(f"http://127.0.0.1:{port}/v1", model, note)
        except BaseException:  # Ctrl-C too must not leave a server behind; it is raised again
            self._process.stop()
            raise
        self.conditions = Conditions(
            engine="llama.cpp",
            engine_version=_version(program),
            dtype="gguf",
            device="llama.cpp's own choice",
            chat_template_digest=self._template,
            flags={"max_model_len": str(room)},
        )

    def _connected(self, url: str, model: LocalModel, note: Callable[[str], None]) -> OpenAIEngine:
        """The client, once the model is loaded: until then the server answers that it is loading."""
        began = time.monotonic()
        remote = Remote(url, api_model="export", key_env=KEY, concurrency=TOGETHER)
        while True:
            if not self._process.running():
                what = f"llama-server ended while starting. Last lines of its log:\n{self._process.tail()}"
                raise EngineError(what)
            try:
                _ready(url)
                self._template = _template(url, os.environ[KEY])
                return OpenAIEngine(model, remote, note)
            except (OSError, EngineError) as fault:
                if time.monotonic() - began > STARTUP_S:
                    what = f"is not up after {STARTUP_S:.0f} s: {fault}"
                    raise EngineError(Problem("llama-server", what)) from fault
                time.sleep(0.25)

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """See `Engine.answer`. It tells no log-likelihoods of choices."""
        return self._asked.answer(requests)

    def load_adapter(self, adapter: Adapter) -> None:
        """A GGUF file holds the whole model."""
        raise EngineError("llama-server is asked for one GGUF file, which has no adapters beside it.")

    def close(self) -> None:
        """Stop the server."""
        self._asked.close()
        self._process.stop()


def _ready(url: str) -> None:
    """Raise OSError until the server has loaded its model. Its health needs no key."""
    import urllib.request

    address = url.removesuffix("/v1") + "/health"
    with urllib.request.urlopen(address, timeout=5) as reply:  # noqa: S310  an address on the loopback
        reply.read()


def _template(url: str, key: str) -> str | None:
    """sha256 of the chat template that the server renders with; None where it does not tell."""
    import urllib.request

    asked = urllib.request.Request(  # noqa: S310  an address on the loopback
        url.removesuffix("/v1") + "/props", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(asked, timeout=30) as reply:  # noqa: S310
        told = json.loads(reply.read()).get("chat_template")
    return hashlib.sha256(told.encode()).hexdigest() if isinstance(told, str) and told else None


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version:\s*(\S+)", done.stderr + done.stdout)
    return found[1] if found else "unknown"


@contextmanager
def _in_environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
