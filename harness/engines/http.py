"""HTTP: JSON over kept-alive connections (`wire`), and nothing else knows HTTP.

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
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from harness import __version__
from harness.engines.base import Answer
from harness.engines.wire import Answered, Connection
from harness.errors import EngineError, Problem

T = TypeVar("T")

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525), 529})
"""Statuses after which the same call may succeed; 520 to 524: a proxy cannot reach its server; 529: overload."""
FATAL: Final = frozenset({401, 403, 404})
"""Statuses that every further call would meet too: wrong key, unknown model or path."""
LONGEST_PAUSE_S: Final = 30.0
"""Longest pause of our own choosing."""
LONGEST_REASON: Final = 500
"""Characters of a server's own words that a message repeats."""
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


class Line:
    """What clients of one server share: connections that are free, and the pause that the server asked for."""

    def __init__(self) -> None:
        self.idle: deque[Connection] = deque()
        self.resume_at = 0.0

    def close(self) -> None:
        """Close the connections that are free. Safe to call twice."""
        while self.idle:
            self.idle.pop().close()


class HttpClient:
    """JSON over kept-alive connections, for many threads at once. Closing it ends its own calls alone."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        attempts: int = 5,
        pause_s: float = 0.5,
        line: Line | None = None,
    ) -> None:
        if fault := url_fault(url):
            raise EngineError(Problem("url", fault))
        parts = urlsplit(url)
        self.url = url
        secure, self._host = parts.scheme == "https", parts.hostname or ""
        self._port = parts.port or (443 if secure else 80)
        self._tls = ssl.create_default_context() if secure else None
        self.path = parts.path.rstrip("/")
        """What every call's path begins with."""
        self._key = api_key or ""
        if not self._key.isprintable() or not self._key.isascii() or " " in self._key:
            raise EngineError("the API key has characters that no key has, perhaps a line break; set it again.")
        head = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: finetune-harness/{__version__}\r\n"
        head += "Accept: application/json\r\nContent-Type: application/json\r\n"
        key = f"Authorization: Bearer {self._key}\r\n" if self._key else ""
        self._head = f"{head}{key}Content-Length: ".encode("ascii")
        self._timeout_s, self._attempts, self._pause_s = timeout_s, attempts, pause_s
        self._line, self._shared = line or Line(), line is not None
        self._busy: set[Connection] = set()
        self._closed = threading.Event()

    def call(self, method: str, path: str, payload: object = None, attempts: int | None = None) -> Any:
        """The JSON body of the answer, tried `attempts` times or as often as the client does.

        Raises CallError or EngineError.
        """
        return _decoded(self.fetch(method, path, payload, attempts))

    def fetch(self, method: str, path: str, payload: object = None, attempts: int | None = None) -> bytes:
        """The body of the answer as it came; otherwise as `call`."""
        body = b"" if payload is None else json.dumps(payload, separators=(",", ":")).encode()
        request = b"%b %b%b%d\r\n\r\n%b" % (method.encode(), (self.path + path).encode(), self._head, len(body), body)
        attempt, most = 1, attempts or self._attempts
        while True:
            last, pause = attempt == most, self._pause_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
            if (held := self._line.resume_at - time.monotonic()) > 0:
                self._wait(held * random.uniform(1.0, 1.1))
            try:
                answer = self._exchange(request)
            except TimeoutError:
                raise CallError(f"no answer within {self._timeout_s:g} s") from None
            except OSError as error:
                if self._closed.is_set():
                    raise CallError("cancelled") from None
                if isinstance(error, _StaleConnection):
                    continue
                if last:
                    raise EngineError(f"{self.url} does not answer after {attempt} attempts ({error!r}).") from error
            else:
                if answer.status < 300:
                    return answer.body
                asked = _seconds(answer.headers.get(b"retry-after"))
                self._refuse(answer.status, answer.body.decode("utf-8", "replace"), path, asked, last)
                if asked is not None:
                    self._line.resume_at, pause = max(self._line.resume_at, time.monotonic() + asked), 0.0
            self._wait(min(pause, LONGEST_PAUSE_S))
            attempt += 1

    def probe(self, path: str) -> Any:
        """What a GET of this path answers, asked once; None where the server has no such path or does not show it."""
        try:
            return self.call("GET", path, attempts=1)
        except (Refused, CallError):
            return None

    def close(self) -> None:
        """End all calls, also those that other threads wait for. Safe to call twice."""
        self._closed.set()
        for connection in tuple(self._busy):
            connection.shut()
        if not self._shared:
            self._line.close()

    def _refuse(self, status: int, text: str, path: str, asked: float | None, last: bool) -> None:
        """Raise for a status that ends the call; return for one after which it may be tried again."""
        reason, code = _reason(text)
        reason = " ".join(reason.split())[:LONGEST_REASON]  # a line of its own could pass for another program's
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

    def _exchange(self, request: bytes) -> Answered:
        """One request and its answer, over a connection that is free or a new one."""
        try:
            connection, reused = self._line.idle.pop(), True
        except IndexError:
            connection, reused = Connection(self._host, self._port, self._tls), False
        self._busy.add(connection)
        try:
            if not reused:
                connection.open(min(CONNECT_S, self._timeout_s), self._timeout_s)
            if self._closed.is_set():  # asked after connecting: `close` breaks only sockets that it can see
                raise ConnectionAbortedError("closed")
            try:
                answer = connection.exchange(request)
            except ConnectionError as error:
                raise (_StaleConnection() if reused else error) from None
        except BaseException:  # Ctrl-C too leaves an answer half read; it is raised again
            connection.close()
            raise
        finally:
            self._busy.discard(connection)
        if answer.stays:
            self._line.idle.append(connection)
        else:
            connection.close()
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def concurrently(
    work: Callable[[T], Answer], jobs: Sequence[T], concurrency: int, abort: Callable[[], None]
) -> Iterator[tuple[int, Answer]]:
    """Run `work` over `jobs` in threads; yield (index, answer) as each finishes.

    The first exception ends it and is raised here. When the consumer stops early,
    `abort` breaks the calls in flight and all threads are joined. While the consumer
    is busy, at most twice `concurrency` jobs are begun that it has not done with.
    """
    results: queue.SimpleQueue[tuple[int, Answer | BaseException]] = queue.SimpleQueue()
    owed: Iterator[tuple[int, T]] = iter(enumerate(jobs))
    lock, stopped = threading.Lock(), threading.Event()
    room = threading.Semaphore(2 * concurrency)  # answers that wait to be kept are lost with a kill

    def worker() -> None:
        while room.acquire() and not stopped.is_set():
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
            room.release()
        finished = True
    finally:
        stopped.set()
        room.release(concurrency)
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
        return "is not a URL" if "@" in url else f"{url!r} is not a URL: {error}"
    if any(not "!" <= letter <= "~" for letter in url):
        return "has a space or a letter beyond ASCII; write it in its encoded form"
    if parts.username or parts.password:
        return "holds a user name or password; leave it out, and put the key into its environment variable"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{url!r} is not an http or https URL"
    told = "has a query or fragment; give the URL of the API alone, and put a key into its environment variable"
    return told if parts.query or parts.fragment else ""


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body) if body.lstrip()[:1] in (b"{", b"[") else body.decode("utf-8", "replace")
    except ValueError as error:
        raise CallError(f"the answer is not JSON: {error}: {body[:80].decode('utf-8', 'replace')!r}") from None


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


def _seconds(header: bytes | None) -> float | None:
    """Retry-After in seconds, from its number or its date; None when there is none that can be read."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        text = "" if header is None else header.decode("ascii").strip()
        dated = text.endswith("GMT")
        number = parsedate_to_datetime(text).timestamp() - time.time() if dated else float(text)
        return max(0.0, number) if math.isfinite(number) else None
    return None
