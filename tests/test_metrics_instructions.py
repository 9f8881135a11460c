"""Checks of instructions: IFEval's kinds, held against lm-eval's own where its requirements are installed."""

import importlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness import metrics
from harness.metrics.checks import CHECKS, kept
from harness.metrics.language import sentences

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "suites" / "ifeval.jsonl"


def target(*instructions: tuple[str, dict[str, Any]]) -> str:
    kinds, arguments = zip(*instructions, strict=True)
    return json.dumps({"instruction_id_list": kinds, "kwargs": arguments})


KEPT: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["sea", "salt"]}, "Salt of the SEA", "salt alone"),
    ("keywords:frequency", {"keyword": "go", "frequency": 2, "relation": "less than"}, "go on", "go and go"),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "an artist", "modern ART"),
    ("keywords:letter_frequency", {"letter": "Z", "let_frequency": 2, "let_relation": "at least"}, "Zz", "z"),
    ("language:response_language", {"language": "de"}, "Das ist ein schöner Tag im Garten.", "It is a nice day."),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "Yes. No!", "Dr. No"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "these are three"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one\n\ntwo"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Now"},
        "First.\n\n'now, then",
        "Now.\n\nFirst",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] [street]", "[name\n] ["),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP. S. call me", "PS call me"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n - b\n**c**", "* a\n* b\n- c"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "*so*", "* *"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1 x Section 2 y",
        "Section one, Section 2",
    ),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<Ode>>\n", "<< >>"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, " say it. Yes", "Yes. Say it."),
    ("startend:end_checker", {"end_phrase": "The end."}, 'So. "THE END."', "The end. So."),
    ("startend:quotation", {}, '"all"', '"'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "STOP it NOW.",
        "STOP it now.",
    ),
    ("change_case:english_capital", {}, "THIS IS THE WEATHER OF TODAY", "This is the weather of today"),
    ("change_case:english_lowercase", {}, "this is the weather of today", "This is the weather of today"),
    ("punctuation:no_comma", {}, "No. None", "No, none"),
]


def test_every_kind_is_tried_here() -> None:
    assert {kind for kind, *_ in KEPT} == set(CHECKS)
    assert len(CHECKS) == 25


@pytest.mark.parametrize(("kind", "arguments", "good", "bad"), KEPT, ids=[kind for kind, *_ in KEPT])
def test_an_instruction_is_kept_or_broken(kind: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert kept(kind, good, arguments)
    assert not kept(kind, bad, arguments)
    assert not kept(kind, " \n", arguments)


def test_strict_looks_at_the_answer_and_loose_forgives_its_first_line() -> None:
    wanted = target(("startend:quotation", {}), ("punctuation:no_comma", {}))
    answer = 'Sure, here it is:\n"a b c"'
    assert metrics.score_text("prompt_level_strict_acc", answer, wanted) == 0
    assert metrics.score_text("prompt_level_loose_acc", answer, wanted) == 1
    assert metrics.score_text("inst_level_strict_acc", '"a, b"', wanted) == 0.5
    assert metrics.score_text("inst_level_loose_acc", '"a, b"', wanted) == 0.5


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("Paris", "no JSON object with instruction_id_list"),
        (target(("keywords:existance", {})), "unknown instruction 'keywords:existance'"),
        (target(("keywords:existence", {})), "keywords"),
        (target(("punctuation:no_comma", {"commas": 1})), "commas"),
        (target(("length_constraints:number_words", {"num_words": 3, "relation": "about"})), "relation 'about'"),
    ],
)
def test_a_target_that_cannot_be_checked_is_no_score(wanted: str, why: str) -> None:
    scored = metrics.score("prompt_level_strict_acc", "anything", wanted)
    assert scored.value is None
    assert why in str(scored.why)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("One", 1),
        ("Dr. Who met Mr. Smith at 5 p.m. sharp. They left.", 2),
        ("Really?! Yes... maybe. “No.” Good", 4),
        ("It costs 3.50 in the U.S. today.", 1),
    ],
)
def test_sentences_are_counted(text: str, number: int) -> None:
    assert sentences(text) == number


FRAGMENTS = [
    *("* one\n", "- two\n", "*\n", "**bold** *it*", "<<Title>>\n", "<< >>", "[a] [b]", "P.S. bye", "P.P.S yes", "\n\n"),
    *("***", "******", "My answer is yes.", '```json\n{"a":1}\n```', "HELLO WORLD", "Section 1\n", "SECTION 2", '"'),
    *(",", "this is a plain english sentence. ", "Das ist ein deutscher Satz.", "\n * x", "   - y", "I'M THE U.S."),
]


def lm_evals_own(monkeypatch: pytest.MonkeyPatch) -> Any:
    """lm-eval's checks; it asks for a download of sentence rules that are not compared here."""
    nltk = pytest.importorskip("nltk")
    pytest.importorskip("immutabledict", reason="lm-eval[ifeval] is not installed")
    detection = pytest.importorskip("langdetect")
    monkeypatch.setattr(detection.DetectorFactory, "seed", 0)
    monkeypatch.setattr(nltk.data, "find", lambda *_: True)
    utils = importlib.import_module("lm_eval.tasks.ifeval.utils")
    theirs = importlib.import_module("lm_eval.tasks.ifeval.instructions").instructions_util
    monkeypatch.setattr(theirs, "count_sentences", sentences)
    monkeypatch.setattr(theirs.nltk, "word_tokenize", nltk.tokenize.NLTKWordTokenizer().tokenize)
    return utils


def made_up(rng: random.Random, row: dict[str, Any]) -> str:
    """An answer of fragments that some kind looks at, and of words that this row asks for."""
    given = [value for arguments in row["kwargs"] for value in arguments.values() if value]
    words = [word for value in given for word in (value if isinstance(value, list) else [value])]
    parts = rng.choices(FRAGMENTS + [word for word in words if isinstance(word, str)] * 2, k=rng.randint(1, 12))
    answer = rng.choice(["", " "]).join(parts)
    return rng.choice([str, str.lower, str.upper, lambda text: f'"{text}"', lambda text: text.replace(",", "")])(answer)


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data/suites/ifeval.jsonl")
def test_every_item_is_scored_as_lm_eval_scores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    utils, rng, agreed = lm_evals_own(monkeypatch), random.Random(0), 0
    for row in map(json.loads, DATA.read_text(encoding="utf-8").splitlines()):
        if any(len(k.get("letter") or "a") > 1 or not (k.get("letter") or "a").isalpha() for k in row["kwargs"]):
            continue  # lm-eval draws another letter at random
        wanted = json.dumps({key: row[key] for key in ("instruction_id_list", "kwargs")})
        for answer in (made_up(rng, row) for _ in range(3)):
            theirs = utils.process_results(row, [answer])
            for level in ("strict", "loose"):
                ours = metrics.score_text(f"prompt_level_{level}_acc", answer, wanted)
                each = metrics.score_text(f"inst_level_{level}_acc", answer, wanted)
                follows = theirs[f"inst_level_{level}_acc"]
                assert (ours, each) == (float(all(follows)), sum(follows) / len(follows)), (row["id"], answer)
                agreed += 1
    assert agreed > 1000
