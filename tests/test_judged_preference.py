"""A judge says which of two candidates' answers is better: over a real endpoint, kept, and held against people."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripted import Scripted, text
from test_http_engine import chat_reply, serving

from harness import metrics
from harness.cli import main
from harness.engines.base import Request
from harness.evaluate import evaluate
from harness.progress import Silent
from harness.records import Candidate, Decoding, Item, Message, ModelRef, Prompt
from harness.store import ExperimentStore, Store
from harness.suites import Suite, Task

SAID = {"new": "aaabbc", "old": "abcbcc"}
"""Answers of both candidates to six questions; the judge likes an earlier letter better."""
PEOPLE = ["tied", "won", "lost", "tied", "won", "tied"]
EXPECTED = ["tied", "won", "won", "tied", "won", "tied"]


def experiment(root: Path, url: str) -> ExperimentStore:
    judge = {"judge": {"url": url, "model": "big"}}
    folder = Store(root).create("x--00000000", yaml.safe_dump({"name": "x", **judge}))
    items = tuple(
        Item(id=str(n), messages=(Message(role="user", content=f"question {n}"),), target="a") for n in range(6)
    )
    suite = Suite("task", "task", "test", (Task("task", "generate", items, ("exact_match",), Decoding()),))
    for name, letters in SAID.items():

        def reply(request: Request, letters: str = letters) -> Any:
            return text(letters[int(request.messages[-1].content[-1])])

        model = ModelRef(name="m", digest="0" * 64)
        prompt = Prompt(name=name, instruction=name)
        candidate = Candidate(name=name, model=model, prompt=prompt, decoding=Decoding())
        evaluate(candidate, suite, Scripted(reply), folder, Silent())
    return folder


def verdict(n: int, body: Any) -> Any:
    """Prefers the answer with the earlier letter, whichever stands first."""
    asked = body["messages"][-1]["content"]
    first, second = (asked.partition(f"<answer_{side}>\n")[2][0] for side in "ab")
    return chat_reply("Hm.\nBetter: " + ("neither" if first == second else "A" if first < second else "B"))


def compare(root: Path, *more: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    with pytest.raises(SystemExit):
        main(["compare", "x--00000000:new", "x--00000000:old", "--judged", "--json", "--reports", str(root), *more])
    return dict(json.loads(capsys.readouterr().out))


def test_pairs_are_judged_once_both_ways_round_and_held_against_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = {"/v1/models": (200, {"data": [{"id": "big", "owned_by": "acme"}]}, {})}
    labels = tmp_path / "people.jsonl"
    labels.write_text("".join(json.dumps({"id": str(n), "outcome": said}) + "\n" for n, said in enumerate(PEOPLE)))
    with serving(verdict, pages) as server:
        experiment(tmp_path / "reports", server.url)
        found = compare(tmp_path / "reports", "--labels", str(labels), capsys=capsys)
        calls = sum("chat" in request[0] for request in server.asked)
        again = compare(tmp_path / "reports", capsys=capsys)
        assert sum("chat" in request[0] for request in server.asked) == calls
    assert sorted((one["id"], one["outcome"]) for one in found["judged"]) == list(
        zip(map(str, range(6)), EXPECTED, strict=True)
    )
    assert sum(one["calls"] for one in found["judged"]) == calls == 2 * EXPECTED.count("won")
    assert (found["comparison"]["won"], found["comparison"]["tied"], found["comparison"]["lost"]) == (3, 3, 0)
    assert found["win_rate"]["value"] == pytest.approx((3 + 3 / 2) / 6)
    assert found["agreement"]["share"]["value"] == pytest.approx(5 / 6)
    assert found["agreement"]["kappa"]["value"] == pytest.approx(metrics.agreement(EXPECTED, PEOPLE))
    assert found["agreement"]["kappa"]["low"] < found["agreement"]["kappa"]["value"]
    assert (again["comparison"], again["agreement"]) == (found["comparison"], None)


def test_a_judge_that_is_not_named_and_labels_that_cannot_be_read_are_told_before_any_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = experiment(tmp_path / "reports", "http://127.0.0.1:9/v1")
    labels = tmp_path / "people.jsonl"
    labels.write_text(json.dumps({"id": "1", "outcome": "better"}))
    told = []
    for more in (["--labels", str(labels)], []):
        if not more:
            (folder.path / "spec.yaml").write_text("name: x\n")
        told += compare(tmp_path / "reports", *more, capsys=capsys)["error"]["problems"]
    assert "people.jsonl:1: outcome is 'better'. One of won, tied, lost an item" in told[0]
    assert "judge: no judge is named" in told[1]
