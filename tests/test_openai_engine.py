"""A server that runs elsewhere as an engine, against a real local one; its faults are those of hosted servers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from engine_contract import PERSON, QUESTIONS, answers, ask, constrained
from pydantic import ValidationError
from test_http_engine import Reply, Server, chat_reply, serving

from harness import models, trainers
from harness.engines import Adapter, Answer, Engine, Request, ServeSpec, choose, open_endpoint, open_engine, refusal
from harness.engines.openai.engine import exposed
from harness.errors import EngineError, ModelError, TrainingError
from harness.progress import Silent
from harness.records import Constraint, Decoding, Prompt

TWO = {"data": [{"id": "small", "owned_by": "acme"}, {"id": "small-tuned", "owned_by": "acme"}]}
PAGES: Mapping[str, Reply] = {"/v1/models": (200, TWO, {})}


def opened(server: Server, model: str = "openai:small", **spec: Any) -> Engine:
    made = ServeSpec(engine="openai", url=server.url, **spec)
    return open_engine(made, models.resolve(model), max_adapters=1, log=Path("unused"))


def test_chat_and_plain_text_are_answered_and_the_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret\n")

    def respond(_: int, body: Any) -> Reply:
        return (
            chat_reply("hi")
            if "messages" in body
            else (200, {"choices": [{"text": " on", "finish_reason": "length"}]}, {})
        )

    with serving(respond, PAGES) as server, opened(server, api_key_env="MY_KEY") as engine:
        chat, plain = answers(engine, [ask("hello"), Request(Decoding(), text="go")])
    assert (chat.text, chat.tokens_in, plain.text, plain.finish) == ("hi", 3, " on", "length")
    assert {path for path, _, _ in server.asked} == {"/v1/chat/completions", "/v1/completions"}
    assert {key for _, _, key in server.asked} == {"Bearer secret"}
    assert "secret" not in engine.conditions.model_dump_json()


def test_a_connection_serves_call_after_call_until_the_engine_is_closed() -> None:
    with serving(lambda *_: chat_reply(), PAGES) as server, opened(server) as engine:
        for _ in range(5):
            assert answers(engine, [ask("hello")])[0].text == "hi"
    assert len(server.peers) == 1


def test_a_pause_that_the_server_asks_for_holds_for_other_calls_too() -> None:
    def respond(number: int, _: Any) -> Reply:
        times.append(time.monotonic())
        return (429, "slow", {"Retry-After": "0.5"}) if number == 0 else chat_reply()

    times: list[float] = []
    with serving(respond, PAGES) as server, opened(server, concurrency=1) as engine:
        first = threading.Thread(target=answers, args=(engine, [ask("one")]))
        first.start()
        while not cast(Any, engine)._line.resume_at:
            time.sleep(0.001)
        answers(engine, [ask("two")])
        first.join()
    assert min(times[1:]) - times[0] >= 0.5


def test_conditions_name_the_server_and_the_model() -> None:
    pages = {**PAGES, "/version": (200, {"version": "1.2.3"}, {})}
    with serving(lambda *_: chat_reply(), pages) as server, opened(server) as engine:
        said = engine.conditions
    assert (said.engine, said.engine_version, said.dtype, said.device) == ("openai", "1.2.3", "remote", "remote")
    assert said.flags == {"server": server.url.removeprefix("http://"), "model": "small"}


@pytest.mark.parametrize("version", [(403, "no", {}), (500, "no", {}), (200, "<html>", {})])
def test_a_server_that_lists_nothing_can_be_asked(version: Reply) -> None:
    with serving(lambda *_: chat_reply(), {"/version": version}) as server, opened(server) as engine:
        assert answers(engine, [ask("hello")])[0].text == "hi"
    assert engine.conditions.engine_version == "unknown"


def test_the_model_may_have_another_name_at_the_server() -> None:
    with serving(lambda *_: chat_reply(), PAGES) as server, opened(server, api_model="small-tuned") as engine:
        answers(engine, [ask("hello")])
    assert server.asked[0][1]["model"] == "small-tuned"


@pytest.mark.parametrize(
    ("status", "listing", "spec", "message"),
    [
        (200, TWO, {"api_model": "smal"}, "serve.api_model: the server does not list 'smal'. Did you mean 'small'"),
        (401, {"error": "no"}, {}, "No key was sent: HARNESS_API_KEY is not set"),
        (403, {"error": "no"}, {}, "refused with status 403"),
        (302, {}, {}, "redirect"),
    ],
)
def test_a_wrong_model_or_key_is_told_before_any_question(
    status: int, listing: Any, spec: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_API_KEY", raising=False)
    with serving(lambda *_: chat_reply(), {"/v1/models": (status, listing, {})}) as server:
        with pytest.raises(EngineError, match=message):
            opened(server, **spec)
        assert not server.asked


def test_a_local_model_needs_a_name_where_the_server_has_several(tmp_path: Path) -> None:
    from test_models import folder

    folder(tmp_path / "m")
    missing = r"serve.api_model: is missing\. It lists: small, small-tuned"
    with serving(lambda *_: chat_reply(), PAGES) as server, pytest.raises(EngineError, match=missing):
        opened(server, str(tmp_path / "m"))


def test_what_the_server_cannot_do_is_an_error_that_says_so() -> None:
    wanted = [
        Request(Decoding(), text="a", choices=("b", "c")),
        constrained("hi", choices=("a", "b")),
        constrained("hi", regex="a+"),
        Request(Decoding(constraint=Constraint(json_schema=PERSON)), text="plain"),
    ]
    with serving(lambda *_: chat_reply(), PAGES) as server, opened(server) as engine:
        got = answers(engine, wanted)
        for request in wanted[1:3]:
            assert "cannot constrain an answer" in refusal(
                engine.conditions, cast(Constraint, request.decoding.constraint)
            )
        assert not refusal(engine.conditions, Constraint(json_schema=PERSON))
    assert not server.asked
    assert "no log-likelihoods" in (got[0].error or "")
    assert all("cannot constrain" in (answer.error or "") for answer in got[1:])


def test_a_json_schema_is_sent_as_response_format_and_its_neglect_is_an_error() -> None:
    replies = ['{"name": "Ada", "age": 36}', "Sure! Here is the JSON you asked for."]
    with serving(lambda number, _: chat_reply(replies[number]), PAGES) as server, opened(server, concurrency=1) as one:
        good, bad = answers(one, [constrained("who?", json_schema=PERSON)] * 2)
    assert json.loads(good.text or "") == {"name": "Ada", "age": 36}
    assert "passed over the constraint" in (bad.error or "")
    assert bad.text is None
    assert server.asked[0][1]["response_format"]["json_schema"]["schema"] == PERSON


def test_adapters_are_known_by_the_names_that_are_stated() -> None:
    adapter = Adapter("tuned-seed0", "/adapters/x")
    with serving(lambda *_: chat_reply(), PAGES) as server:
        with opened(server) as engine, pytest.raises(EngineError, match=r"serve.adapter_models: \{tuned-seed0: NAME\}"):
            engine.load_adapter(adapter)
        wrong = opened(server, adapter_models={adapter.name: "small-tunde"})
        with wrong, pytest.raises(EngineError, match="Did you mean 'small-tuned'"):
            wrong.load_adapter(adapter)
        with opened(server, adapter_models={adapter.name: "small-tuned"}) as engine:
            with pytest.raises(EngineError, match="no adapter 'tuned-seed0' is loaded"):
                answers(engine, [ask("hi")], adapter.name)
            engine.load_adapter(adapter)
            answers(engine, [ask("hi")], adapter.name)
            engine.load_adapter(Adapter("made-there", "", "ft:small:1"))  # made after the server listed its models
            answers(engine, [ask("hi")], "made-there")
    assert [asked[1]["model"] for asked in server.asked] == ["small-tuned", "ft:small:1"]


def test_a_server_that_goes_away_is_an_engine_error_and_earlier_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engines.openai.engine.ATTEMPTS", 1)
    got: list[tuple[int, Answer]] = []
    with (
        serving(lambda number, _: chat_reply() if number < 2 else None, PAGES) as server,
        opened(server, concurrency=1) as engine,
        pytest.raises(EngineError, match="does not answer"),
    ):
        got.extend(engine.answer([ask(question) for question in QUESTIONS]))
    assert [(index, answer.text) for index, answer in got] == [(0, "hi"), (1, "hi")]


def test_an_endpoint_is_opened_by_url_and_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_PROPOSER_KEY", "other")
    with serving(lambda *_: chat_reply(), PAGES) as server, open_endpoint(server.url, "small") as engine:
        assert answers(engine, [ask("hello")])[0].text == "hi"
    assert server.asked[0][2] == "Bearer other"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"engine": "openai"}, "url: is missing"),
        ({"engine": "openai", "url": "localhost:8000"}, "not an http or https URL"),
        ({"engine": "openai", "url": "https://me:hush@host/v1"}, "holds a user name or password"),
        ({"engine": "vllm", "url": "http://localhost"}, "url: only engine: openai"),
        ({"engine": "openai", "url": "http://localhost", "api_key_env": "sk-123"}, "api_key_env"),
    ],
)
def test_a_wrong_server_is_told_with_the_spec(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServeSpec(**spec)


def test_a_model_that_only_a_server_has_is_served_nowhere_else() -> None:
    model = models.resolve("openai:gpt-small")
    assert model.ref.digest == models.resolve("openai:gpt-small").ref.digest
    assert model.ref.digest != models.resolve("openai:gpt-large").ref.digest
    with pytest.raises(EngineError, match=r"serve: \{engine: openai, url"):
        open_engine(ServeSpec(engine="transformers"), model, max_adapters=0, log=Path("unused"))
    with pytest.raises(TrainingError, match="only a name at a server"):
        trainers.train(trainers.Job(trainers.TrainSpec(), Prompt(name="p", instruction=""), model, 0), Silent())
    with pytest.raises(ModelError, match="names no model"):
        models.exists("openai:")


def test_choosing_it_tells_the_server() -> None:
    choice = choose(ServeSpec(engine="openai", url="https://api.example.org/v1"))
    assert (choice.name, "api.example.org" in choice.reason) == ("openai", True)


@pytest.mark.parametrize(
    ("url", "open"),
    [
        ("https://api.example.org/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://127.3.2.1/v1", False),
        ("http://[::1]:8000", False),
        ("http://10.0.0.5:8000/v1", True),
        ("http://localhost.example.org", True),
    ],
)
def test_what_travels_unencrypted_is_told(url: str, open: bool) -> None:
    assert ("the API key" in exposed(url, True)) == open
