"""One question to one scored sample: who is asked what, and which part of an answer is scored."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scripted import Scripted, text

from harness.engines.base import Answer, Request
from harness.errors import EngineError
from harness.evaluate import ask
from harness.records import Decoding, Item, Message, Prompt, Retrieval, SampleRecord
from harness.retrieval import Shelves
from harness.suites import Task

RAW = Prompt(name="raw", instruction="Add.")
STEPS = Prompt(name="steps", instruction="Think.", answer_after="Answer:")
ALWAYS = Prompt(name="always", instruction="", fixed_answer="4")


def sums(count: int = 3) -> list[Item]:
    turns = [(Message(role="user", content=f"{n} plus {n}?"),) for n in range(count)]
    return [Item(id=str(n), messages=turn, target=str(n + n)) for n, turn in enumerate(turns)]


def task(items: Sequence[Item]) -> Task:
    return Task("sums", "generate", tuple(items), ("exact_match",), Decoding(max_tokens=7))


def samples(
    engine: Scripted, items: Sequence[Item], prompt: Prompt, library: Shelves | None = None
) -> list[SampleRecord]:
    return list(ask(engine, task(items), items, prompt, Decoding(), library=library))


def saying(answer: str) -> Scripted:
    return Scripted(lambda request: text(answer))


@pytest.mark.parametrize(
    ("said", "reasoning", "answer"),
    [
        ("2 and 2. Answer: 4", "2 and 2.", "4"),
        ("Answer: 5? No. Answer: 4", "Answer: 5? No.", "4"),
        ("4", None, "4"),
        ("2 and 2 is 4", None, "2 and 2 is 4"),
        ("It is 4. Answer:", "It is 4.", ""),
        ("It is 4.\n**Answer:** 4", "It is 4.", "4"),
        ("It is 4.\n**Answer**: 4", "It is 4.", "4"),
        ("**Answer: 4**", "", "4"),
        ("ANSWER : `4`", "", "4"),
        ("Answer: 4\n\nAnswer: ", "", "4"),
        ("Answer: 4\n\nThe answer: field holds the sum.", "", "4"),
        ("Sum.\nAnswer: 4\n\nI hope this helps!", "Sum.", "4"),
        ("The answers: 3 or 4?", None, "The answers: 3 or 4?"),
    ],
)
def test_what_follows_the_last_mark_is_scored_and_what_stands_before_is_kept(
    said: str, reasoning: str | None, answer: str
) -> None:
    sample = samples(saying(said), sums()[2:], STEPS)[0]
    assert (sample.reasoning, sample.answer) == (reasoning, answer)
    assert sample.scores == {"exact_match": float(answer == "4")}


def test_a_prompt_without_a_mark_has_its_whole_answer_scored() -> None:
    sample = samples(saying("Answer: 4"), sums()[2:], RAW)[0]
    assert (sample.reasoning, sample.answer, sample.scores["exact_match"]) == (None, "Answer: 4", 0.0)


def test_a_failed_call_has_neither_reasoning_nor_score() -> None:
    sample = samples(Scripted(lambda request: Answer(error="timeout")), sums()[:1], STEPS)[0]
    assert (sample.reasoning, sample.answer, sample.scores["exact_match"]) == (None, None, None)
    assert sample.error == "timeout"


def test_a_fixed_answer_asks_no_engine_and_is_scored_like_any_other() -> None:
    engine = Scripted(lambda request: text("no"))
    found = samples(engine, sums(), ALWAYS)
    assert engine.calls == 0
    assert [sample.scores["exact_match"] for sample in found] == [0.0, 0.0, 1.0]
    assert {(sample.answer, sample.tokens_in, sample.tokens_out, sample.finish) for sample in found} == {
        ("4", 0, 0, "stop")
    }


def test_what_was_looked_up_is_asked_with_and_named_on_the_sample() -> None:
    asked: list[str] = []

    def reply(request: Request) -> Answer:
        asked.append(request.messages[-1].content)
        return text("4")

    shelves = Shelves(sums(9))
    retrieval = Retrieval(source="train", use="context", count=1, corpus=shelves.corpus("train"))
    new = Item(id="new", messages=(Message(role="user", content="what is 8 plus?"),), target="16")
    prompt = Prompt(name="rag", instruction="", retrieval=retrieval)
    (sample,) = samples(Scripted(reply), [new], prompt, shelves)
    assert sample.retrieved == ("8",)
    assert sample.question == "what is 8 plus?"
    assert asked == ["8 plus 8? -> 16\n\nwhat is 8 plus?"]
    assert samples(saying("4"), [new], RAW, shelves)[0].retrieved == ()


def test_a_prompt_that_looks_things_up_needs_a_library() -> None:
    prompt = Prompt(name="rag", instruction="", retrieval=Retrieval(source="train", use="context", corpus="0" * 64))
    with pytest.raises(ValueError, match="'rag' looks things up, and there is no library"):
        samples(saying("4"), sums(), prompt)


@pytest.mark.parametrize("prompt", [RAW, STEPS, ALWAYS, Prompt(
    name="rag", instruction="Add.", turn="Q: {{ input }}",
    retrieval=Retrieval(source="train", use="context", corpus="0" * 64),
)], ids=lambda prompt: str(prompt.name))  # fmt: skip
def test_plain_text_items_are_asked_as_they_stand_whatever_the_prompt(prompt: Prompt) -> None:
    seen: list[Request] = []

    def reply(request: Request) -> Answer:
        seen.append(request)
        return text("Answer: 4")

    plain = Item(id="p", text="2 + 2 =", target="Answer: 4")
    (sample,) = samples(Scripted(reply), [plain], prompt)
    assert [(request.text, request.messages, request.decoding) for request in seen] == [
        ("2 + 2 =", (), Decoding(max_tokens=7))
    ]
    assert (sample.answer, sample.reasoning, sample.retrieved) == ("Answer: 4", None, ())
    assert sample.scores["exact_match"] == 1.0


def test_in_a_mixed_task_each_item_is_treated_as_what_it_is() -> None:
    items = [Item(id="p", text="2 + 2 =", target="four"), *sums()[2:]]
    for ordered in (items, items[::-1]):
        engine = saying("four")
        found = {sample.id: sample for sample in samples(engine, ordered, ALWAYS)}
        assert (engine.calls, found["p"].answer, found["2"].answer) == (1, "four", "4")


def test_no_items_ask_nothing() -> None:
    engine = Scripted(lambda request: text("4"), dies_after=0)
    assert samples(engine, [], RAW) == []
    with pytest.raises(EngineError):
        samples(engine, sums(), RAW)
