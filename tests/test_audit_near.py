"""Repetition and leakage: exact, near and word for word, between rows and against evaluation rows."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness import suites
from harness.data import audit_file
from harness.data.files import suite_rows
from harness.data.near import Neighbours, Targets, closeness, signatures, similarity
from harness.data.overlap import Overlap
from harness.data.policy import NEAR
from harness.data.wording import bare

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my card?", "WHERE  IS MY CARD"),
        ("I've lost my card.", "Hi, I have lost our card, thank you!"),
        ("Play me songs from agreable", "Play me sogns from agreable"),
        ("Why did I get charged a fee for cash?", "OK so for what reason did I get charged some fee for cash thanks"),
        ("Will it be sunny in Eyota on february seventh?", "please Will it be sunny in Eyota on february seventh?"),
    ],
)
def test_a_greeting_a_slip_or_another_word_leaves_a_question_the_same(one: str, other: str) -> None:
    assert closeness(bare(one), bare(other), NEAR) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the weather forecast for Laos", "What is the weather forecast for Burundi"),
        ("Rate current novel two stars", "Rate current novel one stars"),
        ("My card has not arrived", "Where do I order a new card"),
        ("Yes", "Yes yes"),
        ("thanks", "thank you"),
    ],
)
def test_another_question_is_another_question(one: str, other: str) -> None:
    assert closeness(bare(one), bare(other), NEAR) is None


def sentences(count: int, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 8))) for _ in range(2000)]
    return [" ".join(rng.choices(words, k=9)) for _ in range(count)]


def test_signatures_estimate_the_jaccard_similarity() -> None:
    pairs = [(text, text[: len(text) * 3 // 4]) for text in sentences(50)]
    for one, other in pairs:
        signed = signatures([one, other])
        assert abs((signed[0] == signed[1]).mean() - similarity(one, other)) < 0.25


def test_planted_near_copies_are_found_and_nothing_else() -> None:
    texts = sentences(3000)
    copies = {number: texts[number][:-1] + "q" for number in range(0, 3000, 30)}
    texts += copies.values()
    neighbours = Neighbours(NEAR)
    for at in range(0, len(texts), 700):
        neighbours.add(signatures(texts[at : at + 700]), texts[at : at + 700])
    found = {(earlier, later) for earlier, later, _ in neighbours.pairs()}
    neighbours.close()
    planted = {(number, 3000 + at) for at, number in enumerate(copies)}
    assert found == planted


def test_the_closest_evaluation_text_is_named() -> None:
    texts = sentences(500)
    targets = Targets(texts, NEAR)
    asked = [texts[7] + "x", "nothing like any of them at all"]
    assert [(match.text, match.target) for match in targets.match(signatures(asked), asked)] == [(0, 7)]


def test_a_question_inside_a_longer_text_is_overlap_and_shared_instructions_are_not() -> None:
    shared = "you will be given a sentence and must say in one word which of the following languages it is in"
    own = [
        "the quick brown fox jumps over the lazy dog by the river bank today",
        "all that glitters is not gold said the wise merchant of venice then",
    ]
    overlap = Overlap([f"{shared} {text}" for text in own])
    found = overlap.find(f"see here {shared} {own[1]} and answer")
    assert found is not None
    assert found[0] == 1
    assert overlap.find(f"{shared} {sentences(1)[0]}") is None


def write(path: Path, rows: list[tuple[str, str]]) -> str:
    path.write_text("".join(json.dumps({"prompt": q, "completion": a}) + "\n" for q, a in rows))
    return str(path)


def test_a_leak_names_the_evaluation_row_and_how_alike_they_are(tmp_path: Path) -> None:
    test = write(
        tmp_path / "test.jsonl", [("Where is my new card?", "a"), ("How old must I be to open an account?", "b")]
    )
    train = write(
        tmp_path / "train.jsonl", [("where is my  new card?", "a"), ("Hi, how old must I be to open an account", "b")]
    )
    found = [f for f in audit_file(train, held={"test": [test]}).findings if f.line]
    assert [(f.line, f.rule, f.severity, f.test_id, f.similarity) for f in found] == [
        (1, "leak_exact", "error", "line 1", 1.0),
        (2, "leak_near", "error", "line 2", 1.0),
    ]


def test_problems_of_one_template_with_other_numbers_and_answers_are_not_copies(tmp_path: Path) -> None:
    asked = "A train leaves the station at {} and travels for {} hours. How far does it go in all?"
    test = write(tmp_path / "test.jsonl", [(asked.format(5, 7), "350")])
    rows = [(asked.format(5, 8), "400"), (asked.format(6, 9), "450")]
    assert not [f for f in audit_file(write(tmp_path / "train.jsonl", rows), held={"test": [test]}).findings if f.line]


def test_near_copies_need_the_same_answer_to_be_duplicates(tmp_path: Path) -> None:
    rows = [
        ("Where is my new card right now?", "here"),
        ("Hey, where is my new card right now", "here"),
        ("where is our new card right now!", "there"),
    ]
    found = [f for f in audit_file(write(tmp_path / "train.jsonl", rows)).findings if f.line]
    assert [(f.line, f.rule, f.partner_line) for f in found] == [(2, "duplicate_near", 1)]


def test_a_suite_that_the_candidate_is_judged_on_must_not_be_learned_from(tmp_path: Path) -> None:
    item = suite_rows(suites.load_suite("regression-core"))[0]
    train = write(tmp_path / "train.jsonl", [(item.question, "a"), ("nothing", "b")])
    found = [f for f in audit_file(train, suites=["regression-core"]).findings if f.line and f.severity == "error"]
    assert [(f.line, f.rule) for f in found] == [(1, "leak_exact")]


# -------------------------------------------------------------- the answer keys


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_audit", ROOT / "bench" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_audit"] = module
    spec.loader.exec_module(module)
    return module


def test_recall_and_precision_on_realistically_dirty_files(shared_data: Path) -> None:
    audit = bench()
    total = audit.score(shared_data)
    found = {kind: total.found[kind] / planted for kind, planted in total.planted.items()}
    assert min(found[kind] for kind in audit.NEAR) >= 0.90
    heuristic = {"truncated_answer", *audit.NEAR}
    assert min(recall for kind, recall in found.items() if kind not in heuristic) >= 0.98
    right, wrong = sum(total.right.values()), sum(total.wrong.values())
    assert right / (right + wrong) >= 0.97
    assert total.clean_flagged / total.clean <= 0.03
    assert (total.decoys_flagged, total.shown_in_clear) == (0, 0)
