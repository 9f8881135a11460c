"""One kept-alive HTTP/1.1 connection, in few calls of the interpreter: a question is one packet, headers stay bytes.

Against the standard library's `http.client` it halves what a call costs; that counts where answers come at once.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from io import BufferedReader
from typing import Final

LONGEST_LINE: Final = 65536
"""Bytes that a line of a head may have."""
MOST_HEADERS: Final = 256


class BrokenAnswerError(ConnectionError):
    """What came is not HTTP, or breaks off."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer of a server."""

    status: int
    headers: dict[bytes, bytes]
    """By their names in small letters; of several with one name, the last."""
    body: bytes
    stays: bool
    """Whether the connection can be used again."""


class Connection:
    """For one thread at a time; `shut` may come from another."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._socket: socket.socket | None = None
        self._file: BufferedReader | None = None

    def open(self, connect_s: float, timeout_s: float) -> None:
        """Connect within `connect_s`; then every answer may take `timeout_s`. Raises OSError."""
        try:
            made = socket.create_connection((self._host, self._port), connect_s)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = made
            if self._tls is not None:
                self._socket = made = self._tls.wrap_socket(made, server_hostname=self._host)
        except TimeoutError:  # nobody is there: another matter than an answer that is long in coming
            raise ConnectionError(f"no connection within {connect_s:g} s") from None
        made.settimeout(timeout_s)
        self._file = made.makefile("rb")

    def exchange(self, request: bytes) -> Answered:
        """Send a whole request and read its answer. Raises OSError; the connection is then of no more use."""
        if self._socket is None or self._file is None:
            raise ConnectionError("not connected")
        self._socket.sendall(request)
        while True:
            version, status, headers = self._head(self._file)
            if status >= 200:  # those below only announce the answer
                break
        chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        length = headers.get(b"content-length")
        if chunked:
            body = self._chunks(self._file)
        elif status in (204, 304):
            body = b""
        else:
            body = self._file.read(-1) if length is None else self._exactly(self._file, _number(length, 10))
        measured = chunked or length is not None or status in (204, 304)
        stays = measured and version == b"HTTP/1.1" and headers.get(b"connection", b"").lower() != b"close"
        return Answered(status, headers, body, stays)

    def shut(self) -> None:
        """Break whatever is under way, from any thread."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the socket. Safe to call twice."""
        for part in (self._file, self._socket):
            if part is not None:
                with contextlib.suppress(OSError):
                    part.close()

    def _head(self, file: BufferedReader) -> tuple[bytes, int, dict[bytes, bytes]]:
        line = file.readline(LONGEST_LINE)
        if not line:
            raise ConnectionResetError("closed without an answer")
        version, _, rest = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise BrokenAnswerError(f"not HTTP: {line[:40]!r}")
        headers: dict[bytes, bytes] = {}
        for _ in range(MOST_HEADERS):
            line = file.readline(LONGEST_LINE)
            if line in (b"\r\n", b"\n"):
                return version, int(rest[:3]), headers
            name, colon, value = line.partition(b":")
            if not colon or not line.endswith(b"\n"):
                raise BrokenAnswerError(f"a header breaks off: {line[:40]!r}")
            headers[name.lower()] = value.strip()
        raise BrokenAnswerError(f"more than {MOST_HEADERS} headers")

    def _chunks(self, file: BufferedReader) -> bytes:
        parts = []
        while size := _number(file.readline(LONGEST_LINE).partition(b";")[0], 16):
            parts.append(self._exactly(file, size))
            file.readline(LONGEST_LINE)
        while file.readline(LONGEST_LINE) not in (b"\r\n", b"\n", b""):
            pass  # trailers
        return b"".join(parts)

    @staticmethod
    def _exactly(file: BufferedReader, size: int) -> bytes:
        body = file.read(size)
        if len(body) < size:
            raise BrokenAnswerError(f"the answer breaks off after {len(body)} of {size} bytes")
        return body


def _number(digits: bytes, base: int) -> int:
    try:
        number = int(digits, base)
    except ValueError:
        number = -1
    if number < 0:
        raise BrokenAnswerError(f"not a length: {digits[:20]!r}")
    return number
