"""Every row format and container becomes one normal form, with physical line numbers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data.example import Example
from harness.data.lines import json_row
from harness.data.normal import normalise
from harness.data.scan import examples_of, shape_of
from harness.data.tables import rows_of
from harness.errors import DataError

CHAT = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def example_of(row: object) -> Example:
    made, faults = normalise(json_row(1, json.dumps(row).encode()))
    assert made is not None, faults
    return made


def rules_of(line: object) -> list[str]:
    data = line if isinstance(line, bytes) else json.dumps(line).encode()
    return [fault.rule for fault in normalise(json_row(1, data))[1]]


def turns(*said: tuple[str, object]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in said]}


@pytest.mark.parametrize(
    ("row", "format", "question", "answer"),
    [
        (CHAT, "messages", "q", "a"),
        ({"prompt": "q", "completion": "a"}, "prompt/completion", "q", "a"),
        (
            {"prompt": [{"role": "user", "content": "q"}], "completion": CHAT["messages"][1:]},
            "prompt/completion",
            "q",
            "a",
        ),
        ({"instruction": "q", "input": "", "output": "a"}, "alpaca", "q", "a"),
        ({"instruction": "do", "input": "it", "output": "a"}, "alpaca", "do\n\nit", "a"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "sharegpt", "q", "a"),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "preference", "q", "a"),
        ({"prompt": "q", "completion": "a", "label": True}, "kto", "q", "a"),
    ],
)
def test_every_row_format_becomes_the_same_example(row: object, format: str, question: str, answer: str) -> None:
    made = example_of(row)
    assert (made.format, made.question(), made.answer) == (format, question, answer)


def test_a_preference_without_a_prompt_takes_what_both_sides_begin_with() -> None:
    asked = {"role": "user", "content": "q"}
    row = {
        "chosen": [asked, {"role": "assistant", "content": "a"}],
        "rejected": [asked, {"role": "assistant", "content": "b"}],
    }
    made = example_of(row)
    assert (made.question(), made.answer, made.rejected) == ("q", "a", "b")


def test_tool_calls_are_part_of_what_a_turn_says() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "look", "arguments": {}}]}
    row = {
        "messages": [{"role": "user", "content": "q"}, call, {"role": "tool", "content": "4"}, *CHAT["messages"][1:]]
    }
    assert "look" in example_of(row).question()


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (b"not json", "invalid_json"),
        (b'{"prompt": NaN, "completion": "a"}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"prompt": 1' + b"0" * 5000 + b"}", "invalid_json"),
        (b'{"prompt": "\xff", "completion": "a"}', "non_utf8"),
        (b'{"prompt": "\\ud800", "completion": "a"}', "lone_surrogate"),
        (b'["q", "a"]', "not_an_object"),
        (b'{"prompt": "q", "prompt": "r", "completion": "a"}', "duplicate_key"),
        ({"prompt": "q", "response": "a"}, "unknown_format"),
        ({"prompt": "q", "chosen": "a"}, "missing_field"),
        ({"prompt": "q", "chosen": "a", "rejected": 3}, "wrong_type"),
        ({"messages": {}}, "wrong_type"),
        ({"messages": []}, "missing_answer"),
        (turns(("user", "q"), ("assistant", None)), "null_content"),
        (turns(("user", "q"), ("assistant", 42)), "wrong_type"),
        (turns(("User", "q"), ("assistant", "a")), "unknown_role"),
        (turns(("user", "q")), "missing_answer"),
        (turns(("user", "q"), ("assistant", " \n")), "empty_answer"),
        (turns(("user", " "), ("assistant", "a")), "empty_prompt"),
        (turns(("user", "q"), ("user", "r"), ("assistant", "a")), "bad_role_order"),
        (turns(("assistant", "a"), ("user", "q"), ("assistant", "a")), "bad_role_order"),
        (turns(("user", "q"), ("system", "s"), ("assistant", "a")), "bad_role_order"),
        (turns(("user", "q"), ("tool", "4"), ("assistant", "a")), "bad_role_order"),
        ({"prompt": "q", "chosen": "a", "rejected": " "}, "empty_answer"),
    ],
)
def test_a_broken_row_is_told_by_its_rule(row: object, rule: str) -> None:
    assert rules_of(row) == [rule]


def test_an_alpaca_instruction_that_is_the_files_system_message_is_one_too() -> None:
    row = json_row(1, json.dumps({"instruction": "Be brief.", "input": "q", "output": "a"}).encode())
    made, _ = normalise(row, shared_system="Be brief.")
    assert made is not None
    assert (made.system, made.question("Be brief.")) == ("Be brief.", "q")


def lines_of(path: Path) -> list[int]:
    return [example.line for example, _ in examples_of(lambda: rows_of(str(path)))]


def test_lines_are_counted_as_they_stand_in_the_file(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "one\u2028two", "completion": "a"}, ensure_ascii=False).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + row + b"\r\n\r\n" + row + b"\n \n" + row)
    assert lines_of(tmp_path / "a.jsonl") == [1, 3, 5]


def test_a_csv_is_read_by_its_usual_column_names_and_counts_physical_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('\ufefftext,label,n\r\n"one\ntwo",x,1\r\nthree,y,2\r\n'.encode())
    found = [(e.line, e.question(), e.answer) for e, _ in examples_of(lambda: rows_of(str(tmp_path / "a.csv")))]
    assert found == [(2, "one\ntwo", "x"), (4, "three", "y")]


def test_a_mapping_names_the_columns_that_no_guess_would_find(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("frage\tantwort\nq\ta\n")
    columns = {"prompt": "frage", "completion": "antwort"}
    found = [e.answer for e, _ in examples_of(lambda: rows_of(str(tmp_path / "a.tsv"), columns=columns))]
    assert found == ["a"]
    assert [normalise(row)[1][0].rule for row in rows_of(str(tmp_path / "a.tsv"))] == ["unknown_format"]


def test_a_csv_row_with_too_few_cells_is_a_fault_of_that_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nq\nr,b\n")
    assert [(row.line, bool(row.faults)) for row in rows_of(str(tmp_path / "a.csv"))] == [(2, True), (3, False)]


def test_parquet_rows_are_numbered_from_one(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["q", "r"], "answer": ["a", "b"]}), tmp_path / "a.parquet")
    assert lines_of(tmp_path / "a.parquet") == [1, 2]


def test_rows_of_a_json_array_keep_their_physical_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([CHAT, CHAT], indent=1))
    first, second = lines_of(tmp_path / "a.json")
    assert first == 2
    assert (tmp_path / "a.json").read_text().split("\n")[second - 1].strip() == "{"


def test_most_rows_decide_the_format_and_the_system_message(tmp_path: Path) -> None:
    rows = [turns(("system", "Be brief."), ("user", f"q{i}"), ("assistant", "a")) for i in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"prompt": "q", "completion": "a"}])))
    shape = shape_of(rows_of(str(tmp_path / "a.jsonl")))
    assert (shape.format, shape.system) == ("messages", "Be brief.")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.jsonl", None, "no such file"),
        ("none.csv", None, "no such file"),
        ("none.parquet", None, "no such file"),
        ("a.jsonl", "\ufeffx".encode("utf-16-le"), "UTF-16"),
        ("a.jsonl", gzip.compress(b"{}"), "gzip"),
        ("a.parquet", b"PAR1 is not all", "no Parquet file"),
    ],
)
def test_what_cannot_be_read_at_all_is_one_clear_error(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        list(rows_of(str(tmp_path / name)))


def test_an_array_that_is_cut_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"prompt": "what is it", "completion": "a cat"},')
    rows = list(rows_of(str(tmp_path / "a.json")))
    assert [[fault.rule for fault in row.faults] for row in rows] == [[], ["invalid_json"]]


def test_a_mapping_wins_over_the_usual_column_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,answer\nhello,what,this\n")
    (row,) = rows_of(str(tmp_path / "a.csv"), columns={"prompt": "label", "completion": "answer"})
    assert row.value == {"text": "hello", "prompt": "what", "completion": "this"}
