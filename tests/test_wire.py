"""HTTP as it comes over the wire, from a server that writes these very bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.engines.http import CallError, HttpClient
from harness.engines.wire import BrokenAnswerError, Connection
from harness.errors import EngineError

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def saying(*answers: bytes) -> Iterator[int]:
    """A server with one of these answers a connection, after which it closes; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                taken, _ = listening.accept()
                with taken:
                    taken.recv(65536)
                    taken.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


@contextmanager
def connected(port: int) -> Iterator[Connection]:
    made = Connection("127.0.0.1", port, None)
    made.open(60, 60)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    ("said", "body", "stays"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", b"hi", True),
        (OK + b"content-length:2\r\nConnection: close\r\n\r\nhi", b"hi", False),
        (OK + b"\r\nuntil the end", b"until the end", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=1\r\n yo\r\n0\r\n\r\n", b"hi yo", True),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nTrailer: x\r\n\r\n", b"a", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    ],
)
def test_bodies_of_every_form_are_read_whole(said: bytes, body: bytes, stays: bool) -> None:
    with saying(said) as port, connected(port) as connection:
        answer = connection.exchange(b"GET / HTTP/1.1\r\n\r\n")
    assert (answer.body, answer.stays) == (body, stays)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nhi",
        OK + b"Content-Length: five\r\n\r\nhi",
        OK + b"Content-Length: -1\r\n\r\nhi",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhi",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhi",
        OK + b"Content-Le",
        OK + b"A: b\r\n" * 300 + b"\r\n",
        OK + b"A: " + b"b" * 70000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_or_is_no_http_is_no_answer(said: bytes) -> None:
    with saying(said) as port, connected(port) as connection, pytest.raises(BrokenAnswerError):
        connection.exchange(b"GET / HTTP/1.1\r\n\r\n")


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    whole = OK + b"Content-Length: 2\r\n\r\n{}"
    with (
        saying(OK + b"Content-Length: 50\r\n\r\n{", whole) as port,
        HttpClient(f"http://127.0.0.1:{port}", pause_s=0.01) as client,
    ):
        assert client.call("GET", "/x") == {}


def test_a_server_that_speaks_no_tls_is_told_as_such() -> None:
    with (
        saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port,
        HttpClient(f"https://127.0.0.1:{port}", attempts=1) as client,
        pytest.raises(EngineError, match="SSL"),
    ):
        client.call("GET", "/x")


def test_a_body_that_is_no_json_is_an_error_of_its_call() -> None:
    with (
        saying(OK + b"Content-Length: 2\r\n\r\n{\xff") as port,
        HttpClient(f"http://127.0.0.1:{port}") as client,
        pytest.raises(CallError, match="not JSON"),
    ):
        client.call("GET", "/x")
