"""HTTP: a small OpenAI-compatible client on the standard library, and nothing else knows HTTP.

    EngineError   nobody answers, the key is refused or the model is unknown: the engine is gone
    CallError     this one call failed for good; the caller turns it into an answer with `error`

Connections are kept alive and shared by threads. Transient faults (503, 429, a
connection that breaks) are retried with growing pauses; a timeout is not, since
the server would only compute the same answer twice.
"""

from __future__ import annotations

import contextlib
import json
import queue
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from harness.engines.base import Answer
from harness.errors import EngineError
from harness.records import Decoding, Message

T = TypeVar("T")

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same call may succeed."""
FATAL: Final = frozenset({401, 403, 404})
"""Statuses that every further call would meet too: wrong key, unknown model or path."""
LONGEST_PAUSE_S: Final = 30.0


class CallError(Exception):
    """One call failed for good; others may succeed."""


class _StaleConnection(OSError):
    """The server closed a connection while it was idle: no fault, and not counted as an attempt."""


class HttpClient:
    """JSON over kept-alive connections, for many threads at once."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        attempts: int = 5,
        pause_s: float = 0.5,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(f"{url!r} is not an http or https URL.")
        self.url = url
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout_s, self._attempts, self._pause_s = timeout_s, attempts, pause_s
        self._idle: deque[HTTPConnection] = deque()
        self._busy: set[HTTPConnection] = set()
        self._closed = threading.Event()

    def call(self, method: str, path: str, payload: object = None) -> Any:
        """The JSON body of the answer. Raises CallError or EngineError."""
        body = None if payload is None else json.dumps(payload, separators=(",", ":")).encode()
        attempt = 1
        while True:
            last, pause = attempt == self._attempts, self._pause_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
            try:
                status, text, retry_after = self._exchange(method, path, body)
            except TimeoutError:
                raise CallError(f"no answer within {self._timeout_s:g} s") from None
            except (OSError, HTTPException) as error:
                if self._closed.is_set():
                    raise CallError("cancelled") from None
                if isinstance(error, _StaleConnection):
                    continue
                if last:
                    raise EngineError(f"{self.url} does not answer after {attempt} attempts ({error!r}).") from error
            else:
                if status < 400:
                    return _decoded(text)
                if status in FATAL:
                    raise EngineError(f"{self.url}{path}: refused with status {status}: {_reason(text)}")
                if last or status not in RETRIED:
                    raise CallError(f"status {status}: {_reason(text)}")
                pause = pause if retry_after is None else retry_after
            if self._closed.wait(min(pause, LONGEST_PAUSE_S)):
                raise CallError("cancelled")
            attempt += 1

    def close(self) -> None:
        """End all calls, also those that other threads wait for. Safe to call twice."""
        self._closed.set()
        for connection in tuple(self._busy):
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, str, float | None]:
        """One request and its answer: status, text, seconds to wait if the server says so."""
        try:
            connection, reused = self._idle.pop(), True
        except IndexError:
            connection, reused = self._connection(), False
        self._busy.add(connection)
        try:
            if not reused:
                connection.connect()
            if self._closed.is_set():  # asked after connecting: `close` breaks only sockets that it can see
                raise ConnectionAbortedError("closed")
            try:
                connection.request(method, self._prefix + path, body=body, headers=self._headers)
                response = connection.getresponse()
            except ConnectionError as error:
                raise (_StaleConnection() if reused else error) from None
            text = response.read().decode("utf-8", errors="replace")
        except BaseException:  # Ctrl-C too leaves an answer half read; it is raised again
            connection.close()
            raise
        finally:
            self._busy.discard(connection)
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return response.status, text, _seconds(response.getheader("Retry-After"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connection(self) -> HTTPConnection:
        kind = HTTPSConnection if self._secure else HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s)


class OpenAIClient(HttpClient):
    """The OpenAI calls that the engines use. `extra` holds what only one server understands."""

    def chat(self, model: str, messages: Sequence[Message], decoding: Decoding, extra: Mapping[str, Any]) -> Answer:
        """One assistant turn after `messages`, rendered by the server's chat template."""
        turns = [{"role": message.role, "content": message.content} for message in messages]
        payload = {"model": model, "messages": turns, **sampling(decoding), **extra}
        return self._generated("/v1/chat/completions", payload, lambda choice: choice["message"]["content"])

    def complete(self, model: str, text: str, decoding: Decoding, extra: Mapping[str, Any]) -> Answer:
        """The continuation of a plain text."""
        payload = {"model": model, "prompt": text, **sampling(decoding), **extra}
        return self._generated("/v1/completions", payload, lambda choice: choice["text"])

    def _generated(self, path: str, payload: Mapping[str, Any], text_of: Callable[[Any], Any]) -> Answer:
        started = time.monotonic()
        try:
            body = self.call("POST", path, payload)
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


def sampling(decoding: Decoding) -> dict[str, Any]:
    """Every sampling parameter of the OpenAI API, stated, so that no server default decides."""
    return {
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "stop": list(decoding.stop),
        "seed": decoding.seed,
        "n": 1,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stream": False,
    }


def concurrently(
    work: Callable[[T], Answer], jobs: Sequence[T], concurrency: int, abort: Callable[[], None]
) -> Iterator[tuple[int, Answer]]:
    """Run `work` over `jobs` in threads; yield (index, answer) as each finishes.

    The first exception ends it and is raised here. When the consumer stops early,
    `abort` breaks the calls in flight and all threads are joined.
    """
    results: queue.SimpleQueue[tuple[int, Answer | BaseException]] = queue.SimpleQueue()
    owed: Iterator[tuple[int, T]] = iter(enumerate(jobs))
    lock, stopped = threading.Lock(), threading.Event()

    def worker() -> None:
        while not stopped.is_set():
            with lock:
                job = next(owed, None)
            if job is None:
                return
            try:
                results.put((job[0], work(job[1])))
            except BaseException as error:  # a thread's error belongs to the caller, who raises it
                results.put((job[0], error))
                return

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(concurrency, len(jobs)))]
    for thread in threads:
        thread.start()
    finished = False
    try:
        for _ in jobs:
            index, answer = results.get()
            if isinstance(answer, BaseException):
                raise answer
            yield index, answer
        finished = True
    finally:
        stopped.set()
        if not finished:
            abort()
        for thread in threads:
            thread.join()


def _decoded(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else text
    except ValueError as error:
        raise CallError(f"the answer is not JSON: {error}: {text[:80]!r}") from None


def _reason(text: str) -> str:
    """The server's own words: OpenAI's `error.message`, or the start of whatever came."""
    try:
        error = json.loads(text)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200] or "no reason given"


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; its date form is ignored."""
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None
