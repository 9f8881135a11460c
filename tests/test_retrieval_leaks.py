"""Documents that prompts look things up in: what they give away of test and dev is told before anything is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import data
from harness.data import AuditSpec, Data, DataSpec
from harness.retrieval import document_leaks, read_passages

LONGEST = 40


def rows(folder: Path) -> Data:
    for name in ("train", "dev", "test"):
        lines = [
            {"prompt": f"In the {name} split, which colour has number {n}, please?", "completion": colour}
            for n, colour in enumerate(("red", "green", "blue") * 3)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return data.load(DataSpec(train="train.jsonl", dev="dev.jsonl", test="test.jsonl"), folder)


def told(folder: Path, document: str, spec: AuditSpec | None = None) -> list[tuple[str, str, str, int]]:
    (folder / "documents").mkdir()
    (folder / "documents" / "faq.md").write_text(document)
    passages = read_passages(folder / "documents", LONGEST)
    read = rows(folder)
    found = document_leaks((read.test.unseal(), read.dev), passages, LONGEST, spec or AuditSpec())
    assert all("faq.md" in finding.message for finding in found)
    return [(finding.rule, finding.severity, finding.file, finding.line) for finding in found]


FILLER = "Nothing of that stands here. " * 20
TEST_1 = "IN THE TEST SPLIT which colour has\nnumber 1 please"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (f"{FILLER}\n\n{TEST_1}\nAnswer: Green.\n\n{FILLER}", [("leak_documents", "error", "test.jsonl", 2)]),
        (f"{FILLER} {TEST_1}? green {FILLER}", [("leak_documents", "error", "test.jsonl", 2)]),
        (f"{TEST_1}\n\n{FILLER}\n\ngreen", [("known_documents", "warning", "test.jsonl", 2)]),
        (f"{TEST_1}: evergreen", [("known_documents", "warning", "test.jsonl", 2)]),
        (
            TEST_1.replace("TEST", "dev").replace("1", "0") + " red",
            [("known_documents", "warning", "dev.jsonl", 1)],
        ),
        (TEST_1.replace("TEST", "train") + " green", []),
        (f"{FILLER} Number 1 is green.", []),
    ],
)
def test_a_question_in_the_documents_is_an_error_with_its_answer_and_a_warning_without(
    tmp_path: Path, document: str, expected: list[tuple[str, str, str, int]]
) -> None:
    assert told(tmp_path, document) == expected


def test_every_place_of_a_question_is_looked_at(tmp_path: Path) -> None:
    document = f"{TEST_1}\n\n{FILLER}\n\n{TEST_1}\n\ngreen"
    assert told(tmp_path, document) == [("leak_documents", "error", "test.jsonl", 2)]


def test_the_policy_can_let_it_pass_or_be_silent(tmp_path: Path) -> None:
    spec = AuditSpec(rules={"leak_documents": "warn", "known_documents": "ignore"})
    document = f"{TEST_1} green\n\n{FILLER}\n\n{TEST_1.replace('1', '2')}\n\n{FILLER}"
    assert told(tmp_path, document, spec) == [("leak_documents", "warning", "test.jsonl", 2)]
