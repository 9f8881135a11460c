"""Reading the task's data, and the audit that guards the verdict."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from harness import data
from harness.data import DataSpec
from harness.errors import DataError
from harness.suites import load_suite

THREE = DataSpec(train="train.jsonl", dev="dev.jsonl", test="test.jsonl")


def row(question: str, answer: str, **more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


def write(folder: Path, name: str, rows: list[object]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")


def three(folder: Path, train: list[object], dev: list[object], test: list[object]) -> data.Data:
    for name, rows in (("train", train), ("dev", dev), ("test", test)):
        write(folder, name, rows)
    return data.load(THREE, folder)


def test_a_line_separator_inside_a_string_is_data(tmp_path: Path) -> None:
    loaded = three(tmp_path, [row("one\u2028two", "a")], [row("b", "b")], [row("c", "c")])
    assert loaded.train.items[0].messages[0].content == "one\u2028two"


def test_bom_blank_lines_and_crlf_are_read(tmp_path: Path) -> None:
    line = json.dumps(row("q", "a"))
    (tmp_path / "train.jsonl").write_bytes(b"\xef\xbb\xbf" + f"{line}\r\n\r\n".encode())
    write(tmp_path, "dev", [row("b", "b")])
    write(tmp_path, "test", [row("c", "c")])
    assert len(data.load(THREE, tmp_path).train.rows) == 1


def test_prompt_and_completion_rows_are_read(tmp_path: Path) -> None:
    loaded = three(tmp_path, [{"prompt": "q", "completion": "a"}], [row("b", "b")], [row("c", "c")])
    assert loaded.format == "messages+prompt/completion"
    assert loaded.train.items[0].target == "a"


def test_a_system_message_that_all_rows_share_becomes_the_instruction(tmp_path: Path) -> None:
    def told(question: str) -> dict[str, object]:
        turns = [("system", "Be brief."), ("user", question), ("assistant", "a")]
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    loaded = three(tmp_path, [told("x")], [told("y")], [told("z")])
    assert loaded.instruction == "Be brief."
    assert [turn.role for turn in loaded.test.unseal().items[0].messages] == ["user"]


def test_every_fault_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"messages": []}\nnot json\n[1]\n{"question": 1}\n')
    write(tmp_path, "dev", [{"messages": [{"role": "robot", "content": "x"}, {"role": "assistant", "content": "y"}]}])
    with pytest.raises(DataError) as caught:
        data.load(THREE, tmp_path)
    wheres = [problem.where for problem in caught.value.problems]
    assert {"train.jsonl:1", "train.jsonl:2", "train.jsonl:3", "train.jsonl:4", "dev.jsonl:1", "test.jsonl"} <= set(
        wheres
    )
    assert "system, user or assistant" in str(caught.value)


def test_an_empty_gold_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gold answer is empty"):
        three(tmp_path, [row("q", " ")], [row("b", "b")], [row("c", "c")])


def test_ids_must_be_unique_within_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1 too"):
        three(tmp_path, [row("q", "a", id="x"), row("r", "a", id="x")], [row("b", "b")], [row("c", "c")])


def test_the_fingerprint_does_not_depend_on_order_or_ids(tmp_path: Path) -> None:
    rows = [row("q", "a", id="1"), row("r", "b", id="2")]
    first = three(tmp_path, rows, [row("b", "b")], [row("c", "c")]).train.fingerprint
    swapped = [row("r", "b", id="8"), row("q", "a", id="9")]
    assert three(tmp_path, swapped, [row("b", "b")], [row("c", "c")]).train.fingerprint == first
    changed = [row("r", "B", id="8"), row("q", "a", id="9")]
    assert three(tmp_path, changed, [row("b", "b")], [row("c", "c")]).train.fingerprint != first


def test_a_test_question_in_train_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    loaded = three(tmp_path, [row("x", "a"), row("Where is  it?", "a")], [row("b", "b")], [row("where is it?", "c")])
    record = data.audit(loaded)
    assert [(f.rule, f.severity, f.file, f.line) for f in record.findings] == [
        ("leak_exact", "error", "train.jsonl", 2)
    ]
    with pytest.raises(DataError, match=r"train\.jsonl:2: .*test\.jsonl:1"):
        data.refuse_errors(record)


def test_repetition_and_contradiction_are_warnings(tmp_path: Path) -> None:
    train = [row("q", "a"), row("q", "a"), row("q", "b")]
    rules = [f.rule for f in data.audit(three(tmp_path, train, [row("b", "b")], [row("c", "c")])).findings]
    assert rules == ["duplicate_exact", "contradiction"]


def test_repetition_and_contradiction_are_told_in_every_split(tmp_path: Path) -> None:
    rows = [row("q", "a"), row("Q", "a"), row("q", "b")]
    test = [row("r", "a"), row("r", "a")]
    findings = data.audit(three(tmp_path, [row("x", "a")], rows, test)).findings
    assert [(f.file, f.rule, f.line) for f in findings] == [
        ("dev.jsonl", "duplicate_exact", 2),
        ("dev.jsonl", "contradiction", 3),
        ("test.jsonl", "duplicate_exact", 2),
    ]
    assert all("remove" in f.message or "keep" in f.message for f in findings)


def test_rows_that_ask_one_question_are_one_cluster(tmp_path: Path) -> None:
    test = [row("q", "a"), row("other", "a"), row("Q", "b"), row("p", "a", cluster="mine"), row("p", "a")]
    loaded = three(tmp_path, [row("x", "a"), row("x", "a")], [row("b", "b")], test)
    first, alone, second, mine, joined = (item.cluster for item in loaded.test.unseal().items)
    assert first == second is not None
    assert (alone, mine, joined) == (None, "mine", "mine")
    assert loaded.train.items[0].cluster is None


def test_a_cluster_in_two_splits_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    train = [row("x", "a"), row("y", "a", cluster="c"), row("z", "a", cluster="c")]
    record = data.audit(three(tmp_path, train, [row("b", "b")], [row("t", "a"), row("u", "a", cluster="c")]))
    assert [(f.rule, f.severity, f.line) for f in record.findings] == [("leak_cluster", "error", 2)]
    with pytest.raises(DataError, match=r"train\.jsonl:2: the cluster 'c' .*test\.jsonl:2"):
        data.refuse_errors(record)


def with_system(system: str, question: str, answer: str = "a") -> dict[str, object]:
    turns = [("system", system), ("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_one_question_about_different_passages_is_no_leak(tmp_path: Path) -> None:
    rows = [[with_system(f"Passage {i}", "Who wrote it?")] for i in range(3)]
    findings = data.audit(three(tmp_path, *rows)).findings
    assert {(f.rule, f.severity) for f in findings} == {("leak_turns", "warning")}
    same = data.audit(three(tmp_path, rows[0], rows[1], [*rows[2], *rows[0]])).findings
    assert ("leak_exact", "train.jsonl") in {(f.rule, f.file) for f in same}


def test_ids_made_from_content_survive_another_order_and_file_name(tmp_path: Path) -> None:
    rows: list[object] = [row("q", "a"), row("r", "b"), row("q", "a"), row("s", "c", id="mine")]
    for name in ("train", "dev", "test", "renamed"):
        write(tmp_path, name, rows if name == "test" else rows[::-1])
    before = data.load(THREE, tmp_path).test.unseal().items
    after = data.load(THREE.model_copy(update={"test": "renamed.jsonl"}), tmp_path).test.unseal().items
    assert sorted(item.id for item in before) == sorted(item.id for item in after)
    first, _, repeat, mine = (item.id for item in before)
    assert first.startswith("test-")
    assert len(first) == len("test-") + 12
    assert (repeat, mine) == (f"{first}-2", "mine")
    assert {item.id: item.digest for item in before} == {item.id: item.digest for item in after}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slices": ["de"]}, "slices: got a list; an object of names and values"),
        ({"slices": {"language": ["de"]}}, "slices.language: got a list; a text or a number"),
        ({"slices": {"language": None}}, "slices.language: got null"),
        ({"cluster": {"a": 1}}, "cluster: got an object; a text or a number"),
        ({"cluster": ""}, "cluster: got an empty text"),
        ({"id": [1]}, "id: got a list"),
    ],
)
def test_a_field_of_the_wrong_kind_is_told(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        three(tmp_path, [row("q", "a", **fields)], [row("b", "b")], [row("c", "c")])
    assert f"train.jsonl:1: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"role": "user", "content": "q", "name": "Eve"}, "messages[0]: got the fields name beside role and content"),
        ({"role": "assistant", "content": "", "tool_calls": [1]}, "messages[0]: got the fields tool_calls"),
        ({"role": "user", "content": [{"type": "text", "text": "q"}]}, "messages[0].content: got a list; text (join"),
        ({"role": "tool", "content": "4"}, "messages[0].role: got 'tool'; system, user or assistant"),
        ({"role": "user", "content": "\ud800"}, "holds half of a surrogate pair"),
    ],
)
def test_a_turn_that_is_more_than_text_is_refused(tmp_path: Path, turn: dict[str, object], message: str) -> None:
    broken = {"messages": [turn, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    (tmp_path / "train.jsonl").write_text(json.dumps(broken))
    for name in ("dev", "test"):
        write(tmp_path, name, [row(name, "a")])
    with pytest.raises(DataError) as caught:
        data.load(THREE, tmp_path)
    assert f"train.jsonl:1: {message}" in str(caught.value)


def test_conversations_in_any_order_of_turns_and_empty_fields_are_fine(tmp_path: Path) -> None:
    turns = [("user", "hi"), ("user", "there"), ("assistant", "yes?"), ("user", "q"), ("assistant", "a")]
    messages = [{"role": role, "content": content, "tool_calls": None} for role, content in turns]
    fields = {"cluster": 7, "slices": {"language": "de", "length": 3, "long": True}}
    item = three(tmp_path, [{"messages": messages, **fields}], [row("b", "b")], [row("c", "c")]).train.items[0]
    assert [turn.role for turn in item.messages] == ["user", "user", "assistant", "user"]
    assert (item.cluster, item.slices) == ("7", {"language": "de", "length": "3", "long": "true"})


def test_the_majority_answer_is_scored_where_answers_repeat(tmp_path: Path) -> None:
    train = [row(f"q{i}", "yes" if i % 3 else "no") for i in range(9)]
    record = data.audit(three(tmp_path, train, [row("b", "b")], [row("c", "yes"), row("d", "no")]))
    assert (record.majority_answer, record.majority_score) == ("yes", 0.5)


def test_one_file_is_split_without_tearing_a_cluster_apart(tmp_path: Path) -> None:
    rows = [row(f"question {i}", "a", cluster=f"c{i // 4}") for i in range(200)]
    write(tmp_path, "all", rows)
    loaded = data.load(DataSpec(path="all.jsonl"), tmp_path)
    clusters = [{item.cluster for item in split.items} for split in loaded.opened]
    assert not clusters[0] & clusters[1]
    assert not (clusters[0] | clusters[1]) & clusters[2]
    assert [len(split.rows) for split in loaded.opened] == [160, 20, 20]


def test_one_file_keeps_a_question_together_whatever_its_clusters(tmp_path: Path) -> None:
    rows = [row(f"question {i % 50}", "a", cluster=f"c{i}") for i in range(200)]
    write(tmp_path, "all", rows)
    record = data.audit(data.load(DataSpec(path="all.jsonl"), tmp_path))
    assert not [f for f in record.findings if f.severity == "error"]


def test_real_public_data_with_a_line_separator_reads(shared_data: Path) -> None:
    folder = shared_data / "tasks" / "gsm8k_cot"
    spec = DataSpec(train="train.jsonl", dev="validation.jsonl", test="test.jsonl")
    assert len(data.load(spec, folder).train.rows) == 1000


def test_one_file_is_split_with_every_label_in_every_split(tmp_path: Path) -> None:
    words = ["".join(random.Random(i).choices("abcdefghij", k=12)) for i in range(300)]
    write(tmp_path, "all", [row(f"{word} {i}", f"label {min(i % 10, 3)}") for i, word in enumerate(words)])
    loaded = data.load(DataSpec(path="all.jsonl"), tmp_path)
    for split in loaded.opened:
        shares = Counter(item.target for item in split.items)
        assert [round(shares[f"label {i}"] / len(split.rows), 1) for i in range(4)] == [0.1, 0.1, 0.1, 0.7]


def test_one_file_keeps_near_copies_in_one_split(tmp_path: Path) -> None:
    words = ["".join(random.Random(i).choices("abcdefghij", k=25)) for i in range(100)]
    write(tmp_path, "all", [row(f"{hello}{word}", "a") for hello in ("", "Hi, ", "please ") for word in words])
    loaded = data.load(DataSpec(path="all.jsonl"), tmp_path)
    assert not [f for f in data.full_audit(loaded).findings if f.severity == "error"]
    assert [len(split.rows) for split in loaded.opened] == [240, 30, 30]


def test_a_near_copy_of_a_test_row_is_an_error_that_a_policy_can_allow(tmp_path: Path) -> None:
    loaded = three(
        tmp_path, [row("Hi, where is our new card?", "a")], [row("b", "b")], [row("Where is my new card", "c")]
    )
    record = data.full_audit(loaded)
    assert [(f.rule, f.file, f.test_id is not None) for f in record.findings if f.severity == "error"] == [
        ("leak_near", "train.jsonl", True)
    ]
    with pytest.raises(DataError, match=r"leak_near: warn"):
        data.refuse_errors(record)
    data.refuse_errors(data.full_audit(loaded, data.AuditSpec(rules={"leak_near": "warn"})))


def test_every_rule_looks_at_every_split_and_suite(tmp_path: Path) -> None:
    suite = load_suite("regression-core")
    asked = suite.tasks[0].items[0]
    text = asked.text or asked.messages[-1].content
    loaded = three(tmp_path, [row(text, "a")], [row("mail a@example.org", "b")], [row("card 4000 0001 2408 7133", "c")])
    found = {(f.file, f.rule) for f in data.full_audit(loaded, suites=[suite]).findings}
    assert {("train.jsonl", "leak_exact"), ("dev.jsonl", "pii_email"), ("test.jsonl", "pii_card")} <= found


def test_splits_are_read_from_tables_and_other_formats_too(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("frage,antwort\nq,a\n")
    (tmp_path / "dev.jsonl").write_text(json.dumps({"instruction": "b", "input": "", "output": "b"}))
    turns = [{"from": "human", "value": "c"}, {"from": "gpt", "value": "c"}]
    (tmp_path / "test.jsonl").write_text(json.dumps({"conversations": turns}))
    columns = {"prompt": "frage", "completion": "antwort"}
    loaded = data.load(DataSpec(train="train.csv", dev="dev.jsonl", test="test.jsonl", columns=columns), tmp_path)
    assert loaded.format == "alpaca+prompt/completion+sharegpt"
    assert loaded.train.items[0].target == "a"


def test_a_data_card_is_asked_for_and_kept(tmp_path: Path) -> None:
    loaded = three(tmp_path, [row("x", "a")], [row("b", "b")], [row("c", "c")])
    asked = data.full_audit(loaded, card=data.CardSpec(source="our tickets"))
    assert ["licence" in f.message for f in asked.findings if f.rule == "no_card"] == [True]
    told = data.full_audit(loaded, card=data.CardSpec(source="our tickets", licence="CC0-1.0"))
    assert told.card == {"source": "our tickets", "licence": "CC0-1.0"}
    assert "no_card" not in {f.rule for f in told.findings}
