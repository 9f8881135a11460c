"""The HTTP client against a real local server."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

import pytest

from harness.engines.base import Answer
from harness.engines.http import CallError, HttpClient, Line, concurrently
from harness.engines.openai.client import OpenAIClient
from harness.errors import EngineError
from harness.records import Decoding, Message

Reply = tuple[int, Any, dict[str, str]]
OK: Reply = (200, {"ok": True}, {})


class Server:
    """Answers posts with `respond` and gets with `pages`, and keeps what it was asked."""

    def __init__(self, respond: Callable[[int, Any], Reply | None], pages: Mapping[str, Reply]) -> None:
        self.asked: list[tuple[str, Any, str | None]] = []
        self.peers: set[Any] = set()
        server, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
                with lock:
                    number = len(server.asked)
                    server.asked.append((self.path, body, self.headers.get("Authorization")))
                    server.peers.add(self.client_address)
                self.send(respond(number, body))

            def do_GET(self) -> None:
                self.send(pages.get(self.path, (404, {"error": {"message": "Not Found"}}, {})))

            def send(self, reply: Reply | None) -> None:
                if reply is None:  # break the connection
                    self.close_connection = True
                    return
                status, value, headers = reply
                data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
                self.send_response(status)
                for name, content in headers.items():
                    self.send_header(name, content)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that left before its answer is what some tests are about."""

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@contextmanager
def serving(
    respond: Callable[[int, Any], Reply | None], pages: Mapping[str, Reply] = MappingProxyType({})
) -> Iterator[Server]:
    server = Server(respond, pages)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def client(url: str, **settings: Any) -> OpenAIClient:
    return OpenAIClient(url, **({"pause_s": 0.01} | settings))


def chat_reply(text: Any = "hi", finish: str = "stop") -> Reply:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": finish}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}, {}


def ask(made: OpenAIClient, **decoding: Any) -> Answer:
    return made.chat("m", (Message(role="user", content="hello"),), Decoding(**decoding), {"top_k": 0})


def test_a_busy_server_is_asked_again() -> None:
    with serving(lambda n, _: (503, "busy", {}) if n < 2 else OK) as server, client(server.url) as made:
        assert made.call("POST", "/x") == {"ok": True}
        assert len(server.asked) == 3


def test_retry_after_is_honoured() -> None:
    with serving(lambda n, _: (429, "slow", {"Retry-After": "0.3"}) if n < 1 else OK) as server:
        with client(server.url) as made:
            started = time.monotonic()
            made.call("POST", "/x")
        assert time.monotonic() - started >= 0.3


def test_retry_after_may_be_a_date_and_holds_for_every_thread() -> None:
    resume = math.ceil(time.time() + 1)  # dates have whole seconds
    busy = (429, "slow", {"Retry-After": formatdate(resume, usegmt=True)})
    arrived, line = [], Line()

    def respond(number: int, _: Any) -> Reply:
        arrived.append(time.time())
        return busy if number == 0 else OK

    with serving(respond) as server, client(server.url, line=line) as made, closing(line):
        held = threading.Thread(target=made.call, args=("POST", "/x"))
        held.start()
        while not line.resume_at:
            assert held.is_alive()
            time.sleep(0.01)
        made.call("POST", "/x")
        held.join()
    assert len(arrived) == 3
    assert min(arrived[1:]) >= resume


def test_a_pause_that_is_too_long_to_wait_for_is_an_error() -> None:
    with serving(lambda *_: (429, "slow", {"Retry-After": "86400"})) as server, client(server.url) as made:
        assert "asks to wait 86400 s" in (ask(made).error or "")
        assert len(server.asked) == 1


def test_a_redirect_is_not_followed() -> None:
    with serving(lambda *_: (307, "", {"Location": "http://127.0.0.1:1/"})) as server, client(server.url) as made:
        with pytest.raises(EngineError, match="redirect"):
            ask(made)
        assert len(server.asked) == 1


def test_a_quota_that_is_used_up_stops_everything() -> None:
    spent = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    with serving(lambda *_: (429, spent, {})) as server, client(server.url) as made:
        with pytest.raises(EngineError, match="exceeded your current quota"):
            ask(made)
        assert len(server.asked) == 1


def test_a_refused_parameter_is_named() -> None:
    fault = {"error": {"message": "Unsupported value", "param": "top_p", "code": "unsupported_value"}}
    with serving(lambda *_: (400, fault, {})) as server, client(server.url) as made:
        assert ask(made).error == "status 400: Unsupported value (parameter top_p)"


def test_the_key_is_in_no_error() -> None:
    echo = {"error": {"message": "wrong key: secret-key"}}
    with (
        serving(lambda *_: (401, echo, {})) as server,
        client(server.url, api_key="secret-key") as made,
        pytest.raises(EngineError, match=r"wrong key: \*\*\*"),
    ):
        ask(made)
    with pytest.raises(EngineError, match="line break") as caught:
        client(server.url, api_key="secret\nkey")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "called"),
    [("", "/v1/chat/completions"), ("/v1/", "/v1/chat/completions"), ("/x/v1", "/x/v1/chat/completions"),
     ("/v1beta/openai", "/v1beta/openai/chat/completions")],
)  # fmt: skip
def test_the_url_is_that_of_the_server_or_of_its_api(path: str, called: str) -> None:
    with serving(lambda *_: chat_reply()) as server, client(server.url + path) as made:
        assert ask(made).text == "hi"
    assert server.asked[0][0] == called


def test_a_broken_connection_is_tried_again() -> None:
    with serving(lambda n, _: None if n < 2 else OK) as server, client(server.url) as made:
        assert made.call("POST", "/x") == {"ok": True}


def test_connections_are_kept_alive() -> None:
    with serving(lambda *_: OK) as server, client(server.url) as made:
        for _ in range(5):
            made.call("POST", "/x")
        assert len(server.peers) == 1


def test_a_fault_that_stays_is_an_answer_with_its_reason() -> None:
    fault = {"error": {"message": "overloaded"}}
    with serving(lambda *_: (503, fault, {})) as server, client(server.url, attempts=3) as made:
        assert ask(made).error == "status 503: overloaded"
        assert len(server.asked) == 3


def test_a_servers_words_are_one_short_line() -> None:
    fault = {"error": {"message": "no\n::error::your build\r\n" + 5000 * "x"}}
    with serving(lambda *_: (400, fault, {})) as server, client(server.url) as made:
        told = ask(made).error
    assert told is not None
    assert told.startswith("status 400: no ::error::your build xxx")
    assert len(told.splitlines()) == 1
    assert len(told) < 600


def test_a_refused_request_is_not_sent_twice() -> None:
    with serving(lambda *_: (400, {"error": {"message": "too long"}}, {})) as server, client(server.url) as made:
        assert ask(made).error == "status 400: too long"
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_stops_everything(status: int) -> None:
    with serving(lambda *_: (status, {"error": "Unauthorized"}, {})) as server, client(server.url) as made:
        with pytest.raises(EngineError, match=f"status {status}: Unauthorized"):
            ask(made)
        assert len(server.asked) == 1


def test_nobody_listening_is_an_engine_error() -> None:
    with serving(lambda *_: OK) as server:
        url = server.url
    with client(url, attempts=2) as made, pytest.raises(EngineError, match="does not answer after 2 attempts"):
        made.call("POST", "/x")


def test_a_timeout_is_an_answer_and_is_not_repeated() -> None:
    arrived, over = threading.Event(), threading.Event()

    def slow(*_: Any) -> Reply:
        arrived.set()
        over.wait(60)
        return OK

    with serving(slow) as server, client(server.url, timeout_s=0.1) as made:
        assert ask(made).error == "no answer within 0.1 s"
        assert arrived.wait(60)
        over.set()
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((200, '{"choices": [', {}), "not JSON"),
        ((200, "<html>hello</html>", {}), "expected form"),
        ((200, {"choices": []}, {}), "expected form"),
        (chat_reply(text=None), "no usable answer"),
        (chat_reply(finish="abort"), "no usable answer"),
    ],
)
def test_an_unreadable_answer_is_an_error_and_never_an_empty_text(reply: Reply, reason: str) -> None:
    with serving(lambda *_: reply) as server, client(server.url) as made:
        answer = ask(made)
        assert answer.text is None
        assert reason in (answer.error or "")


def test_every_sampling_parameter_is_stated() -> None:
    with serving(lambda *_: chat_reply()) as server, client(server.url, api_key="k") as made:
        answer = ask(made, max_tokens=7, stop=("\n",), seed=5)
    path, body, key = server.asked[0]
    stated = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 7, "stop": ["\n"], "seed": 5, "n": 1, "top_k": 0}
    assert (path, key) == ("/v1/chat/completions", "Bearer k")
    assert stated.items() <= body.items()
    assert (answer.text, answer.finish, answer.tokens_in, answer.tokens_out) == ("hi", "stop", 3, 1)


def test_answers_come_as_they_finish_and_many_at_once() -> None:
    others, one_came = threading.Semaphore(0), threading.Event()

    def first_waits(_: int, body: Any) -> Reply:
        if body != 0:
            others.release()
        elif not all(others.acquire(timeout=60) for _ in range(7)):  # comes only where the others are asked meanwhile
            return 400, {"error": "the others were never asked"}, {}
        elif not one_came.wait(60):
            return 400, {"error": "no other answer was handed on"}, {}
        return OK

    order = []
    with serving(first_waits) as server, client(server.url) as made:
        for index, _ in concurrently(lambda job: Answer(text=made.call("POST", "/x", job)), range(8), 8, made.close):
            order.append(index)
            one_came.set()
    assert order[0] != 0
    assert sorted(order) == list(range(8))


def test_no_more_is_begun_than_twice_what_is_under_way_while_the_consumer_is_busy() -> None:
    begun: list[int] = []

    def work(job: int) -> Answer:
        begun.append(job)
        return Answer(text="")

    answers, deadline = concurrently(work, range(1000), 4, lambda: None), time.monotonic() + 60
    for taken in range(1, 4):
        next(answers)
        while len(begun) < 8 + taken - 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.05)  # for those who would go on
        assert len(begun) == 8 + taken - 1
    assert len([*answers]) == 997


def test_a_consumer_that_stops_early_waits_for_nobody() -> None:
    over, waited_for = threading.Event(), []

    def respond(number: int, _: Any) -> Reply:
        if number and not over.wait(60):
            waited_for.append(number)
        return OK

    with serving(respond) as server, client(server.url) as made:
        work = concurrently(lambda job: Answer(text=str(made.call("POST", "/x", job))), range(20), 4, made.close)
        next(work)
        work.close()
        over.set()
        assert not waited_for
        assert len(server.asked) <= 5


def test_a_closed_client_makes_no_calls() -> None:
    with serving(lambda *_: OK) as server, client(server.url) as made:
        made.call("POST", "/x")
        made.close()
        with pytest.raises(CallError, match="cancelled"):
            made.call("POST", "/x")
        assert len(server.asked) == 1


def test_an_engine_error_in_one_call_ends_all() -> None:
    with serving(lambda *_: (401, "no", {})) as server, client(server.url) as made, pytest.raises(EngineError):
        list(concurrently(lambda job: Answer(text=str(made.call("POST", "/x", job))), range(50), 4, made.close))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000", "not an http or https URL"),
        ("ftp://localhost", "not an http or https URL"),
        ("http://[::1", "is not a URL"),
        ("http://localhost:port", "is not a URL"),
        ("http://localhost/v1?key=1", "has a query or fragment"),
        ("http://localhost/a b", "has a space"),
        ("https://me:pass@localhost/v1", "holds a user name or password"),
        ("https://me:pass@localhost:port/v1", "is not a URL"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        HttpClient(url)
    assert "pass@" not in str(caught.value)


def test_a_call_error_is_not_an_engine_error() -> None:
    assert not issubclass(CallError, EngineError)
