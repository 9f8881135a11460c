"""The rules of the audit: each finds its fault, says it without personal data, and leaves look-alikes alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.data import DATA_RULES, AuditSpec, FileAudit, audit_file
from harness.data.answering import answer_faults
from harness.data.example import Example, Turn
from harness.data.textual import FIXES, text_faults


def audited(
    folder: Path, rows: Sequence[object], test: Sequence[object] = (), spec: AuditSpec | None = None
) -> FileAudit:
    for name, given in (("train", rows), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    held = {"test": [str(folder / "test.jsonl")]} if test else {}
    return audit_file(str(folder / "train.jsonl"), spec, held)


def pair(question: str, answer: str, **more: object) -> dict[str, object]:
    return {"prompt": question, "completion": answer, **more}


def found(audit: FileAudit) -> list[tuple[int, str]]:
    return [(f.line, f.rule) for f in audit.findings if f.line]


# ----------------------------------------------------------------- personal data


def test_a_personal_value_is_never_in_a_finding(tmp_path: Path) -> None:
    values = ["ivo@example.net", "4000 0001 2408 7133", "078-05-1120"]
    rows = [pair(f"Question {value}", "answer SSN 078-05-1120", id=value) for value in values]
    audit = audited(tmp_path, rows, [pair(f"question {values[0]}", "x", id="ivo@example.net")])
    told = json.dumps([f.model_dump(mode="json") for f in audit.findings])
    assert {"pii_email", "pii_card", "pii_national_id", "leak_exact"} <= {f.rule for f in audit.findings}
    assert not [value for value in values if value in told]


def test_personal_data_in_a_broken_row_is_found_all_the_same(tmp_path: Path) -> None:
    audit = audited(tmp_path, [{"note": {"to": ["a@example.org"]}}])
    assert found(audit) == [(1, "unknown_format"), (1, "pii_email")]


# -------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("fine <|im_end|>\n<|im_start|>assistant", "template_token"),
        ("[INST] hi [/INST]", "template_token"),
        ("the end.</s>", "template_token"),
        ("done<|END_OF_TURN_TOKEN|>", "template_token"),
        ("### Instruction: add\n### Response:", "template_token"),
        ("Human: what is it?\n\nAssistant:", "template_token"),
        ("hasnâ€™t arrived", "mojibake"),
        ("null\x00byte", "control_character"),
        ("zero\u200b width", "invisible_character"),
        ("left\u00a0inguinal", "invisible_character"),
        ("ideographic\u3000space", "invisible_character"),
        ("the end.\u3000\nNext", "invisible_character"),
        ("join\u200ded", "invisible_character"),
        ("  both ends \t", "whitespace"),
        ("Why   am   I   here   today", "whitespace"),
        ("one\ttab", "whitespace"),
        ("I am interested\n\n\nin a refund", "whitespace"),
        ("Notre\n\n\nDame", "whitespace"),
    ],
)
def test_a_fault_of_the_text_is_found_and_its_repair_leaves_none(text: str, rule: str) -> None:
    assert [fault.rule for fault in text_faults("user", text)] == [rule]
    if rule in FIXES:
        assert list(text_faults("user", FIXES[rule](text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "naïve café – “quoted”",
        "日本語\u3000です",
        "ភាពអាម៉ាស\u200bនៃរឿង",
        "p\u2009<\u20090.05",
        "Vraiment\u00a0?",
        "def f():\n    return   1\n        # x",
        "a\tb\tc\n1\t2\t3",
        "x < y and y > z, List<String>",
        "first\u2028second",
        "Answer: ",
        "👩\u200d👧 family",
    ],
)
def test_ordinary_text_of_any_language_is_left_alone(text: str) -> None:
    assert list(text_faults("user", text)) == []


# --------------------------------------------------------------- answers and pairs


def one(
    question: str, answer: str, rejected: str | None = None, scores: tuple[float, float] | None = None
) -> list[str]:
    example = Example(1, "messages", (Turn("user", question),), answer, rejected, scores=scores)
    return [fault.rule for fault in answer_faults(example)]


def test_odd_answers_and_pairs_are_told() -> None:
    assert one("q", "I'm sorry, but as an AI language model I cannot help with that request.") == ["refusal"]
    assert one("q", "Unfortunately, I’m not able to help with that.") == ["refusal"]
    assert one("q", "I must politely decline.") == ["refusal"]
    assert one("q", "Unfortunately, I can't attend the meeting.") == []
    assert one("q", "I'm sorry to hear that. Your card is on its way.") == []
    assert one("Where is my card now, please?", "Where is my card now, please? Soon.") == ["copied_prompt"]
    assert one("q", "same", "Same ") == ["preference_identical"]
    assert one("q", "a", "b", (2.0, 3.0)) == ["preference_swapped"]
    assert one("q", "a", "b " * 6000) == ["preference_length"]


def test_opposite_preferences_contradict_each_other(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "b", "rejected": "a"}]
    rows += [{"prompt": "q", "chosen": "a", "rejected": "c"}]
    assert found(audited(tmp_path, rows)) == [(2, "preference_contradiction")]


# -------------------------------------------------------------------- whole files

LABELS = ("card_arrival", "change_pin", "age_limit")


def labelled(count: int = 60) -> list[dict[str, object]]:
    nouns = ("window", "garden", "letter", "market", "engine", "summer", "doctor", "bridge", "island", "pocket")
    return [pair(f"{nouns[i % 10]} {nouns[i // 10 % 10][::-1]} {i * 7919}", LABELS[i % 3]) for i in range(count)]


def test_labels_outside_a_closed_set_are_told_with_the_label_they_meant(tmp_path: Path) -> None:
    odd = ["CHANGE_PIN", "cahnge_pin", "The label is age_limit.", "change pin"]
    audit = audited(tmp_path, [*labelled(), *(pair(f"odd {i} question {label}", label) for i, label in enumerate(odd))])
    assert [(f.line, f.rule) for f in audit.findings if "label" in f.rule and f.line] == [
        (line, "label_not_in_set") for line in range(61, 65)
    ]
    assert "did it mean 'change_pin'" in next(f.message for f in audit.findings if f.line == 61)


def test_a_rare_label_is_an_error_only_where_the_evaluation_rows_do_not_have_it(tmp_path: Path) -> None:
    rows = [*labelled(), pair("something else entirely", "other")]
    assert (61, "rare_label") in found(audited(tmp_path, rows))
    test = [pair(f"test {label}", label) for label in LABELS]
    assert (61, "label_not_in_set") in found(audited(tmp_path, rows, test))
    assert (61, "label_not_in_set") not in found(audited(tmp_path, rows, [*test, pair("what", "other")]))


def test_the_majority_label_and_its_share_are_known(tmp_path: Path) -> None:
    rows = [pair(f"{word * 3} {i}", "spam" if i < 5 else "ham") for i, word in enumerate(["ab", "cd", "ef", "gh"] * 10)]
    audit = audited(tmp_path, rows)
    assert audit.balance is not None
    assert (audit.balance.majority, audit.balance.share, len(audit.balance.labels)) == ("ham", 0.875, 2)
    assert "class_imbalance" in {f.rule for f in audit.findings}


def test_a_label_that_its_text_speaks_against_is_told(tmp_path: Path) -> None:
    pytest.importorskip("cleanlab")
    about = {"cats": "my cat purrs and sleeps on the sofa", "cars": "the engine of my car needs new oil"}
    rows = [pair(f"{text} {i * 7919}", label) for i in range(30) for label, text in about.items()]
    rows.append(pair(f"{about['cats']} all day", "cars"))
    assert [(f.line, f.severity) for f in audited(tmp_path, rows).findings if f.rule == "label_error"] == [(61, "info")]


def test_an_answer_that_is_no_json_among_json_is_told(tmp_path: Path) -> None:
    rows = [pair(f"{i * 7919} {'xyz'[i % 3] * 9}", json.dumps({"n": i})) for i in range(40)]
    rows += [pair("bad", '{"n": 1},'), pair("fenced", '```json\n{"n": 99}\n```'), pair("line", '```{"n": 98}```')]
    told = found(audited(tmp_path, rows))
    assert (41, "bad_json_answer") in told
    assert [line for line, rule in told if rule == "fenced_json_answer"] == [42, 43]


def test_an_answer_that_breaks_off_is_told_by_how_the_others_end(tmp_path: Path) -> None:
    def solved(ending: str) -> list[object]:
        return [pair(f"{i * 7919} {'xyz'[i % 3] * 9}", f"It is {i} times {i % 7}\n{ending}{i}") for i in range(60)]

    cut = [pair("one more", "It is 7 times"), pair("and one", "It is (7 times 8")]
    marked = [(line, rule) for line, rule in found(audited(tmp_path, [*solved("#### "), *cut])) if line > 60]
    assert marked == [(61, "truncated_answer"), (62, "truncated_answer")]
    plain = [(line, rule) for line, rule in found(audited(tmp_path, [*solved("is "), *cut])) if line > 60]
    assert plain == [(62, "truncated_answer")]


def test_an_answer_without_anything_to_see_is_empty(tmp_path: Path) -> None:
    assert found(audited(tmp_path, [pair("what is it", "\u200b \u00a0")])) == [(1, "empty_answer")]


def test_a_row_far_longer_than_the_rest_and_another_system_message_are_told(tmp_path: Path) -> None:
    def row(system: str, question: str) -> dict[str, object]:
        said = [("system", system), ("user", question), ("assistant", "yes.")]
        return {"messages": [{"role": role, "content": content} for role, content in said]}

    rows = [row("Be brief.", f"{i * 7919} {'xyz'[i % 3] * 9}") for i in range(40)]
    rows += [row("Be brief.", "word " * 2000 + "end"), row("Be long.", "and this")]
    assert [(line, rule) for line, rule in found(audited(tmp_path, rows)) if line > 40] == [
        (41, "over_long"),
        (42, "mixed_system"),
    ]


# ------------------------------------------------------------------------ policy


def test_the_policy_of_a_rule_can_be_overridden(tmp_path: Path) -> None:
    rows = [pair("where is it", "here"), pair("where is it", "here"), pair("a@example.org", "b")]
    spec = AuditSpec(rules={"duplicate_exact": "error", "pii_email": "ignore"})
    findings = [f for f in audited(tmp_path, rows, spec=spec).findings if f.line]
    assert [(f.rule, f.severity, f.action, f.partner_line) for f in findings] == [
        ("duplicate_exact", "error", "error", 1)
    ]


@pytest.mark.parametrize(
    ("rules", "message"),
    [({"pii_mail": "warn"}, "Did you mean 'pii_email'"), ({"leak_exact": "fix"}, "nothing can fix it")],
)
def test_a_wrong_policy_is_told(rules: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AuditSpec.model_validate({"rules": rules})


def test_every_rule_is_described_in_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    lines = {f"| `{rule.name}` | {rule.severity} | {rule.action} | {rule.about} |" for rule in DATA_RULES.values()}
    assert lines <= set(page.splitlines())
