"""How the items of a suite are asked and scored: contexts that are compared, single texts, chat without a prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from scripted import Scripted, text
from test_http_engine import Reply, client, serving

from harness.engines.base import Answer, Request
from harness.engines.pairs import Prefix
from harness.engines.vllm.ask import Asker
from harness.evaluate import ask
from harness.records import Decoding, Item, Message, Prompt, SampleRecord
from harness.suites import Task, load_suite

BLANK = Item(
    id="blank",
    text="So: ",
    choices=("Ann told Eve that Ann", "Ann told Eve that Eve"),
    continuation=" had lost.",
    target="Ann told Eve that Ann",
)
LAST_WORD = Item(id="word", text="The capital of France is", choices=(" Paris",), target=" Paris")
PROMPT = Prompt(name="long", instruction="Be brief.", answer_after="Answer:")


def task(item: Item) -> Task:
    return Task("t", "choice", (item,), ("acc",), Decoding(max_tokens=1))


def asked(engine: Scripted, of: Task) -> SampleRecord:
    (sample,) = ask(engine, of, of.items, PROMPT, Decoding())
    return sample


def test_each_context_is_asked_for_what_follows_it() -> None:
    seen: list[Request] = []

    def reply(request: Request) -> Answer:
        seen.append(request)
        return Answer(logprobs=(-1.0 if str(request.text).endswith("Ann") else -2.0,), tokens_in=5, tokens_out=0)

    sample = asked(Scripted(reply), task(BLANK))
    assert [(one.text, one.choices) for one in seen] == [
        ("So: Ann told Eve that Ann", (" had lost.",)),
        ("So: Ann told Eve that Eve", (" had lost.",)),
    ]
    assert (sample.scores, sample.logprobs, sample.answer) == ({"acc": 1.0}, (-1.0, -2.0), BLANK.target)
    assert sample.tokens_in == 10


def test_an_item_with_one_failed_context_is_unscored() -> None:
    def reply(request: Request) -> Answer:
        return Answer(error="gone") if str(request.text).endswith("Eve") else Answer(logprobs=(-1.0,))

    sample = asked(Scripted(reply), task(BLANK))
    assert (sample.scores, sample.error) == ({"acc": None}, "gone")


@pytest.mark.parametrize(("greedy", "score"), [(True, 1.0), (False, 0.0), (None, None)])
def test_a_single_text_is_right_when_greedy_decoding_would_write_it(greedy: bool | None, score: float | None) -> None:
    sample = asked(Scripted(lambda _: Answer(logprobs=(-3.0,), greedy=greedy)), task(LAST_WORD))
    assert sample.scores == {"acc": score}
    assert (sample.error is None) is (greedy is not None)


def test_a_chat_suite_is_asked_without_the_candidates_prompt(tmp_path: Path) -> None:
    config = {
        "task": "polite",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "polite.jsonl"}},
        "test_split": "test",
        "description": "You are polite.",
        "doc_to_text": "q",
        "doc_to_target": "a",
        "generation_kwargs": {"until": [], "max_gen_toks": 9},
        "metadata": {"chat": True},
    }
    (tmp_path / "polite.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "polite.jsonl").write_text(json.dumps({"q": "Who are you?", "a": "Answer: me"}))
    suite = load_suite(str(tmp_path / "polite.yaml"))
    seen: list[Request] = []

    def reply(request: Request) -> Answer:
        seen.append(request)
        return text("Answer: me")

    (sample,) = ask(Scripted(reply), suite.tasks[0], suite.tasks[0].items, PROMPT, Decoding(max_tokens=99))
    turns = (Message(role="system", content="You are polite."), Message(role="user", content="Who are you?"))
    assert (seen[0].messages, seen[0].decoding.max_tokens) == (turns, 9)
    assert sample.scores == {"exact_match": 1.0}


def test_what_follows_a_context_belongs_to_an_item_and_older_items_stay_what_they_were() -> None:
    other = BLANK.model_copy(update={"continuation": " had won."})
    assert other.digest != BLANK.digest
    assert "continuation" not in LAST_WORD.model_dump(mode="json")


@pytest.mark.parametrize(("ranks", "greedy"), [((1, 1), True), ((1, 2), False), ((1, None), None)])
def test_vllm_ranks_tell_whether_greedy_decoding_would_write_a_text(
    ranks: tuple[int | None, ...], greedy: bool | None
) -> None:
    def tokens(_: int, body: dict[str, object]) -> Reply:
        prompt = body["prompt"]
        if isinstance(prompt, str):
            return 200, {"tokens": [ord(letter) for letter in prompt]}, {}
        rows = [
            {"81": {"logprob": -1.0}},
            *({str(t): {"logprob": -1.0, "rank": r}} for t, r in zip(b"ab", ranks, strict=True)),
        ]
        return 200, {"choices": [{"index": 0, "prompt_logprobs": rows}], "usage": {"prompt_tokens": 3}}, {}

    with serving(tokens) as server, client(server.url) as http:
        answer = Asker(http, Prefix(0, "."), (), 1024).answer("m", Request(Decoding(), text="Q", choices=("ab",)))
    assert (answer.logprobs, answer.greedy, answer.error) == ((-2.0,), greedy, None)
