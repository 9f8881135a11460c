"""HTTP: JSON over kept-alive connections on the standard library, and nothing else knows HTTP.

    EngineError   nobody answers, the key is refused or the model is unknown: the engine is gone
    CallError     this one call failed for good; the caller turns it into an answer with `error`

Connections are kept alive and shared by threads. Transient faults (503, 429, a
connection that breaks) are retried with growing pauses; a timeout is not, since
the server would only compute the same answer twice. A server that asks for a pause
gets it from all threads. Redirects are not followed: the key belongs to one server.
"""

from __future__ import annotations

import contextlib
import json
import math
import queue
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from harness.engines.base import Answer
from harness.errors import EngineError, Problem

T = TypeVar("T")

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same call may succeed."""
FATAL: Final = frozenset({401, 403, 404})
"""Statuses that every further call would meet too: wrong key, unknown model or path."""
LONGEST_PAUSE_S: Final = 30.0
"""Longest pause of our own choosing."""
LONGEST_WAIT_S: Final = 300.0
"""Longest pause that a server may ask for; who asks for more has refused."""
CONNECT_S: Final = 20.0
"""Seconds that a connection may take to come about."""


class CallError(Exception):
    """One call failed for good; others may succeed."""


class Refused(EngineError):
    """The server refuses, and would refuse every further call."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


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
        if fault := url_fault(url):
            raise EngineError(Problem("url", fault))
        parts = urlsplit(url)
        self.url = url
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self.path = parts.path.rstrip("/")
        """What every call's path begins with."""
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._key = api_key or ""
        if api_key:
            if not api_key.isprintable() or not api_key.isascii() or " " in api_key:
                raise EngineError("the API key has characters that no key has, perhaps a line break; set it again.")
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout_s, self._attempts, self._pause_s = timeout_s, attempts, pause_s
        self._idle: deque[HTTPConnection] = deque()
        self._busy: set[HTTPConnection] = set()
        self._closed = threading.Event()
        self._resume_at = 0.0

    def call(self, method: str, path: str, payload: object = None) -> Any:
        """The JSON body of the answer. Raises CallError or EngineError."""
        body = None if payload is None else json.dumps(payload, separators=(",", ":")).encode()
        attempt = 1
        while True:
            last, pause = attempt == self._attempts, self._pause_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
            if (held := self._resume_at - time.monotonic()) > 0:
                self._wait(held * random.uniform(1.0, 1.1))
            try:
                status, text, asked = self._exchange(method, path, body)
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
                if status < 300:
                    return _decoded(text)
                self._refuse(status, text, path, asked, last)
                if asked is not None:
                    self._resume_at, pause = max(self._resume_at, time.monotonic() + asked), 0.0
            self._wait(min(pause, LONGEST_PAUSE_S))
            attempt += 1

    def probe(self, path: str) -> Any:
        """What a GET of this path answers, or None where the server has no such path."""
        try:
            return self.call("GET", path)
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise
        except CallError:
            return None

    def close(self) -> None:
        """End all calls, also those that other threads wait for. Safe to call twice."""
        self._closed.set()
        for connection in tuple(self._busy):
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        while self._idle:
            self._idle.pop().close()

    def _refuse(self, status: int, text: str, path: str, asked: float | None, last: bool) -> None:
        """Raise for a status that ends the call; return for one after which it may be tried again."""
        reason, code = _reason(text)
        if self._key:
            reason = reason.replace(self._key, "***")
        if status < 400:
            raise Refused(f"{self.url}{path}: answers with a redirect (status {status}), and none is followed. "
                          "Give the URL that it points to.", status)  # fmt: skip
        if status in FATAL or code == "insufficient_quota":
            raise Refused(f"{self.url}{path}: refused with status {status}: {reason}", status)
        if last or status not in RETRIED:
            raise CallError(f"status {status}: {reason}")
        if asked is not None and asked > LONGEST_WAIT_S:
            raise CallError(f"status {status}: {reason} (it asks to wait {asked:.0f} s)")

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise CallError("cancelled")

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, str, float | None]:
        """One request and its answer: status, text, seconds to wait if the server says so."""
        try:
            connection, reused = self._idle.pop(), True
        except IndexError:
            connection, reused = self._connection(), False
        self._busy.add(connection)
        try:
            if not reused:
                self._connect(connection)
            if self._closed.is_set():  # asked after connecting: `close` breaks only sockets that it can see
                raise ConnectionAbortedError("closed")
            try:
                connection.request(method, self.path + path, body=body, headers=self._headers)
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
        return kind(self._host or "", self._port, timeout=min(CONNECT_S, self._timeout_s))

    def _connect(self, connection: HTTPConnection) -> None:
        try:
            connection.connect()
        except TimeoutError:  # nobody is there: another matter than an answer that is long in coming
            raise ConnectionError(f"no connection within {connection.timeout:g} s") from None
        connection.sock.settimeout(self._timeout_s)


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


def url_fault(url: str) -> str:
    """Why this is no URL of an API, or empty. A URL that holds a password is not repeated."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for its ValueError
    except ValueError as error:
        return f"{url!r} is not a URL: {error}"
    if parts.username or parts.password:
        return "holds a user name or password; leave it out, and put the key into its environment variable"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{url!r} is not an http or https URL"
    return f"{url!r} has a query or fragment; give the URL of the API alone" if parts.query or parts.fragment else ""


def _decoded(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else text
    except ValueError as error:
        raise CallError(f"the answer is not JSON: {error}: {text[:80]!r}") from None


def _reason(text: str) -> tuple[str, str]:
    """The server's own words (OpenAI's `error.message` and `param`, or the start of whatever came), and its code."""
    try:
        error = json.loads(text)["error"]
        if not isinstance(error, dict):
            return str(error), ""
        named = f" (parameter {error['param']})" if error.get("param") else ""
        return f"{error['message']}{named}", str(error.get("code"))
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200] or "no reason given", ""


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds, from its number or its date; None when there is none that can be read."""
    if header is None:
        return None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        number = float(header) if not header.rstrip().endswith("GMT") else parsedate_to_datetime(header).timestamp()
        if math.isfinite(number):
            return max(0.0, number - time.time() if header.rstrip().endswith("GMT") else number)
    return None
