"""The cache of answers: never asked twice, never mixed up, never in the way."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from scripted import Scripted, text

from harness.engines.base import Adapter, Answer, Request
from harness.engines.cached import KEPT, Answers, CachedEngine
from harness.records import Decoding, Message


class Adaptable(Scripted):
    """A scripted engine that takes adapters."""

    def load_adapter(self, adapter: Adapter) -> None:
        pass


def request(question: str, **decoding: object) -> Request:
    return Request(Decoding(**decoding), messages=(Message(role="user", content=question),))  # type: ignore[arg-type]


def echo(request: Request) -> Answer:
    return text(f"you said {request.messages[-1].content}")


def ask(tmp_path: Path, engine: Scripted, requests: list[Request], model: str = "m" * 64) -> list[Answer]:
    with CachedEngine(engine, model, Answers(tmp_path / "answers.sqlite")) as cached:
        return [answer for _, answer in sorted(cached.answer(requests), key=lambda pair: pair[0])]


def test_what_was_asked_once_is_not_asked_again_and_says_so(tmp_path: Path) -> None:
    first = ask(tmp_path, Scripted(echo), [request("a"), request("b")])
    engine = Scripted(echo)
    again = ask(tmp_path, engine, [request("b"), request("c"), request("a")])
    assert engine.calls == 1
    assert [answer.cached for answer in again] == [True, False, True]
    assert replace(again[2], cached=False) == first[0]


@pytest.mark.parametrize(
    "other",
    [
        request("a", max_tokens=7),
        request("a", seed=1),
        request("a", temperature=0.5),
        request("a", stop=("x",)),
        Request(Decoding(), messages=(Message(role="system", content="s"), Message(role="user", content="a"))),
        Request(Decoding(), messages=(Message(role="assistant", content="a"),)),
    ],
)
def test_whatever_an_answer_depends_on_is_part_of_its_key(tmp_path: Path, other: Request) -> None:
    ask(tmp_path, Scripted(echo), [request("a")])
    engine = Scripted(echo)
    ask(tmp_path, engine, [other])
    assert engine.calls == 1


def test_another_model_or_another_engine_version_gives_its_own_answers(tmp_path: Path) -> None:
    ask(tmp_path, Scripted(echo), [request("a")])
    other = Scripted(echo)
    ask(tmp_path, other, [request("a")], model="n" * 64)
    newer = Scripted(echo)
    newer.conditions = newer.conditions.model_copy(update={"engine_version": "2"})
    ask(tmp_path, newer, [request("a")])
    assert (other.calls, newer.calls) == (1, 1)


def test_an_adapter_is_known_by_its_weights_not_its_name(tmp_path: Path) -> None:
    for name, weights in (("one", b"1"), ("two", b"2"), ("three", b"1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").write_bytes(weights)
    asked = []
    for folder, calls in (("one", 1), ("two", 1), ("three", 0)):
        engine = Adaptable(echo)
        with CachedEngine(engine, "m" * 64, Answers(tmp_path / "answers.sqlite")) as cached:
            cached.load_adapter(Adapter("tuned", str(tmp_path / folder)))
            list(cached.answer([replace(request("a"), adapter="tuned")]))
        asked.append((engine.calls, calls))
    assert all(got == wanted for got, wanted in asked)


def test_a_failed_call_is_asked_again(tmp_path: Path) -> None:
    ask(tmp_path, Scripted(lambda _: Answer(error="timeout")), [request("a")])
    engine = Scripted(echo)
    assert ask(tmp_path, engine, [request("a")])[0].text == "you said a"
    assert engine.calls == 1


def test_log_likelihoods_come_back_to_the_last_bit(tmp_path: Path) -> None:
    scored = Answer(logprobs=(-1 / 3, -2e-17), tokens_in=5, tokens_out=0, latency_s=0.1)
    choice = Request(Decoding(), text="x", choices=("a", "b"))
    ask(tmp_path, Scripted(lambda _: scored), [choice])
    assert ask(tmp_path, Scripted(echo), [choice])[0] == replace(scored, cached=True)


def test_every_field_of_an_answer_is_kept_or_is_known_not_to_be() -> None:
    assert {*Answer.__slots__} == {*KEPT, "error", "cached"}


def test_a_damaged_file_is_told_and_left_aside(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_bytes(b"no database at all" * 100)
    told: list[str] = []
    engine = Scripted(echo)
    with CachedEngine(engine, "m" * 64, Answers(tmp_path / "answers.sqlite", told.append)) as cached:
        assert [answer.text for _, answer in cached.answer([request("a")])] == ["you said a"]
    assert len(told) == 1
    assert "answers.sqlite is left aside" in told[0]


def test_answers_given_before_the_engine_died_are_kept(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="scripted death"):
        ask(tmp_path, Scripted(echo, dies_after=2), [request(str(n)) for n in range(4)])
    engine = Scripted(echo)
    ask(tmp_path, engine, [request(str(n)) for n in range(4)])
    assert engine.calls == 2


def test_a_model_that_computes_holds_nobody_up_who_writes_to_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with CachedEngine(Scripted(echo), "m" * 64, Answers(path)) as slow:
        answering = slow.answer([request("a"), request("b")])
        next(answering)  # the first answer is there, the model is at the second
        other = sqlite3.connect(path, timeout=0)
        other.execute("INSERT INTO answers VALUES ('key', '{}')")
        other.commit()
        other.close()
        assert len([*answering]) == 1


def test_answers_are_kept_when_who_asks_has_heard_enough(tmp_path: Path) -> None:
    with CachedEngine(Scripted(echo), "m" * 64, Answers(tmp_path / "answers.sqlite")) as cached:
        answering = cached.answer([request("a"), request("b")])
        next(answering)
        answering.close()  # type: ignore[attr-defined]
        assert [answer.cached for _, answer in cached.answer([request("a")])] == [True]
