"""What every engine must hold to, as functions that take a running engine on the small model.

Each check raises AssertionError. `CHECKS` lists those that need no adapter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from harness.engines.base import Answer, Engine, Request
from harness.records import Constraint, Decoding, Message

SHORT: Final = Decoding(max_tokens=24)
QUESTIONS: Final = (
    "What is the capital of France?",
    "Name three colours.",
    "Write one sentence about the sea, please, and mention a ship in it.",
)


def ask(question: str, decoding: Decoding = SHORT) -> Request:
    """A chat request of one turn."""
    return Request(decoding, messages=(Message(role="user", content=question),))


def of(adapter: str | None, requests: Sequence[Request]) -> list[Request]:
    """The same requests to an adapter; without one, to whom they say themselves."""
    return [request if adapter is None else replace(request, adapter=adapter) for request in requests]


def answers(engine: Engine, requests: Sequence[Request], adapter: str | None = None) -> list[Answer]:
    """All answers in the order of their requests; each index comes exactly once."""
    got = list(engine.answer(of(adapter, requests)))
    assert sorted(index for index, _ in got) == list(range(len(requests)))
    return [answer for _, answer in sorted(got, key=lambda pair: pair[0])]


def texts(engine: Engine, requests: Sequence[Request], adapter: str | None = None) -> list[str | None]:
    """The texts of all answers."""
    return [answer.text for answer in answers(engine, requests, adapter)]


def check_chat_answers_are_whole(engine: Engine) -> None:
    """A short question is answered rightly and the turn ends by itself, its tokens counted."""
    answer = answers(engine, [ask(QUESTIONS[0])])[0]
    assert answer.error is None
    assert answer.text is not None
    assert "Paris" in answer.text
    assert "<|" not in answer.text
    assert answer.finish == "stop"
    assert answer.tokens_in == 37
    assert answer.tokens_out is not None
    assert 5 < answer.tokens_out <= SHORT.max_tokens
    assert answer.latency_s is not None
    assert answer.latency_s > 0


def check_batches_change_nothing(engine: Engine) -> None:
    """Greedy answers are the same alone, together and in another order."""
    requests = [ask(question) for question in QUESTIONS]
    alone = [texts(engine, [request])[0] for request in requests]
    assert texts(engine, requests) == alone
    assert texts(engine, requests[::-1]) == alone[::-1]


def check_long_answers_are_cut(engine: Engine) -> None:
    """An answer that reaches max_tokens says so."""
    answer = answers(engine, [ask(QUESTIONS[2], Decoding(max_tokens=3))])[0]
    assert (answer.finish, answer.tokens_out) == ("length", 3)


def check_stop_strings_are_cut(engine: Engine) -> None:
    """A stop string ends the answer and is not part of it."""
    whole = texts(engine, [ask(QUESTIONS[0])])[0] or ""
    answer = answers(engine, [ask(QUESTIONS[0], Decoding(max_tokens=24, stop=(" of", "zzz")))])[0]
    assert answer.text == whole.split(" of")[0]
    assert answer.finish == "stop"


def check_sampling_is_seeded(engine: Engine) -> None:
    """The same seed gives the same answer, another seed another one."""
    one, other = (Decoding(max_tokens=16, temperature=1.0, top_p=0.95, seed=seed) for seed in (1, 2))
    first = texts(engine, [ask(QUESTIONS[2], one), ask(QUESTIONS[2], other)])
    assert first[0] != first[1]
    assert texts(engine, [ask(QUESTIONS[2], one)])[0] == first[0]


def check_choices_are_scored(engine: Engine) -> None:
    """The likely continuation wins, its tokens add up, and other choices change nothing."""
    choices = (" London", " Paris", " Paris, the city of light")
    request = Request(SHORT, text="The capital of France is", choices=choices)
    single = Request(SHORT, text="The capital of France is", choices=choices[1:2])
    answer, alone = answers(engine, [request, single])
    assert answer.text is None
    assert answer.logprobs is not None
    assert alone.logprobs is not None
    london, paris, longer = answer.logprobs
    assert 0 > paris > max(london, longer)
    assert abs(alone.logprobs[0] - paris) < 1e-3


def check_context_may_be_empty_or_end_in_a_space(engine: Engine) -> None:
    """A space at the end of the context counts as the start of the choice."""
    spaced = Request(SHORT, text="The capital of France is ", choices=("Paris",))
    plain = Request(SHORT, text="The capital of France is", choices=(" Paris",))
    empty = Request(SHORT, text="", choices=("Hello",))
    first, second, third = (answer.logprobs for answer in answers(engine, [spaced, plain, empty]))
    assert first is not None
    assert second is not None
    assert third is not None
    assert abs(first[0] - second[0]) < 1e-3
    assert third[0] < 0


def check_hopeless_requests_are_errors(engine: Engine) -> None:
    """A request that cannot fit the context has an error and no text; the others are answered."""
    hopeless = ask("word " * 9000)
    bad, good = answers(engine, [hopeless, ask(QUESTIONS[0])])
    assert bad.text is None
    assert bad.error
    assert good.error is None
    assert good.text


def constrained(question: str, max_tokens: int = 48, temperature: float = 0.0, **constraint: Any) -> Request:
    """A chat request whose answer is constrained."""
    return ask(question, Decoding(max_tokens=max_tokens, temperature=temperature, constraint=Constraint(**constraint)))


CITIES: Final = ("Rome", "Paris", "Paris, Texas", 'the "eternal" city')
PERSON: Final = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def check_constraints_hold(engine: Engine) -> None:
    """Whatever is asked, greedy or sampled, the whole answer is one that its constraint allows; free ones stay free."""
    question = "Tell me a long story about the sea."
    free = texts(engine, [ask(question)])
    for temperature in (0.0, 1.5):
        chosen, number, value, untouched = answers(
            engine,
            [
                constrained(question, temperature=temperature, choices=CITIES),
                constrained(question, temperature=temperature, regex="[0-9]{2}:[0-9]{2}( am| pm)?"),
                constrained(question, max_tokens=96, temperature=temperature, json_schema=PERSON),
                ask(question),
            ],
        )
        assert chosen.text in CITIES
        assert re.fullmatch("[0-9]{2}:[0-9]{2}( am| pm)?", number.text or "")
        assert json.loads(value.text or "").keys() == {"name", "age"}
        assert {answer.finish for answer in (chosen, number, value)} == {"stop"}
        assert untouched.text == free[0]


def check_a_constraint_keeps_the_likely_choice(engine: Engine) -> None:
    """Of the allowed answers the model's own wins, and a longer one is not cut to one that it starts with."""
    cities = tuple(f"The capital of France is {city}." for city in ("Rome", "Paris", "Lima"))
    assert texts(engine, [constrained(QUESTIONS[0], choices=("The", "The capital", *cities))]) == [cities[1]]


def check_a_constrained_answer_can_be_cut(engine: Engine) -> None:
    """max_tokens and stop strings count for constrained answers too, and the finish tells."""
    short = constrained(QUESTIONS[2], max_tokens=3, json_schema=PERSON)
    stopped = ask(QUESTIONS[0], Decoding(max_tokens=24, stop=(",",), constraint=Constraint(choices=("Lima, Peru",))))
    cut, halted = answers(engine, [short, stopped])
    assert (cut.finish, cut.tokens_out) == ("length", 3)
    assert (halted.finish, halted.text) == ("stop", "Lima")


def check_impossible_constraints_are_errors(engine: Engine) -> None:
    """A constraint that cannot be compiled is an error of its own request, and names why."""
    bad, schema, good = answers(
        engine,
        [constrained("Hi", regex="[0-9"), constrained("Hi", json_schema={"type": "nope"}), ask(QUESTIONS[0])],
    )
    assert bad.text is None
    assert "unclosed character class" in (bad.error or "")
    assert schema.text is None
    assert "nope" in (schema.error or "")
    assert good.text


CHECKS: Final[tuple[Callable[[Engine], None], ...]] = (
    check_chat_answers_are_whole,
    check_batches_change_nothing,
    check_long_answers_are_cut,
    check_stop_strings_are_cut,
    check_sampling_is_seeded,
    check_choices_are_scored,
    check_context_may_be_empty_or_end_in_a_space,
    check_hopeless_requests_are_errors,
    check_constraints_hold,
    check_a_constraint_keeps_the_likely_choice,
    check_a_constrained_answer_can_be_cut,
    check_impossible_constraints_are_errors,
)


def check_base_stays_base(engine: Engine, adapter: str) -> None:
    """With an adapter loaded the base model still answers as itself, and the adapter as another."""
    requests = [ask(question) for question in QUESTIONS]
    before = texts(engine, requests)
    tuned = texts(engine, requests, adapter)
    assert tuned != before
    assert texts(engine, requests) == before
    mixed = [request for pair in zip(requests, of(adapter, requests), strict=True) for request in pair]
    assert texts(engine, mixed) == [text for pair in zip(before, tuned, strict=True) for text in pair]
    base_stream, tuned_stream = engine.answer(requests), engine.answer(of(adapter, requests))
    pairs = list(zip(base_stream, tuned_stream, strict=True))  # two streams taken in turns
    assert sorted(text.text or "" for (_, text), _ in pairs) == sorted(text or "" for text in before)
    assert sorted(text.text or "" for _, (_, text) in pairs) == sorted(text or "" for text in tuned)
