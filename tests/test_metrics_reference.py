"""Metrics held against the implementations that define them, and those that run a query or read patterns."""

import json
import re
import string
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import metrics
from harness.errors import UsageError
from harness.metrics import safety
from harness.metrics.labels import label_set

XSTEST = Path(__file__).resolve().parents[2] / "shared" / "data" / "suites" / "xstest.jsonl"
sentences = st.lists(
    st.sampled_from(["The", "cat", "cats", "sat", "an", "on", "a", "mat", "mat.", "dog,", "!", "\n", "runs"]),
    max_size=15,
).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(answer=sentences, target=sentences)
def test_bleu_and_chrf_are_sacrebleus(answer: str, target: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    assert metrics.score_text("bleu", answer, target) == pytest.approx(
        sacrebleu.sentence_bleu(answer, [target]).score / 100
    )
    for name, words in (("chrf", 0), ("chrf(words=2)", 2)):
        wanted = sacrebleu.sentence_chrf(answer, [target], word_order=words).score / 100
        assert metrics.score_text(name, answer, target) == pytest.approx(wanted)


@pytest.mark.parametrize("stemmer", [False, True])
@settings(deadline=None, max_examples=60)
@given(answer=sentences, target=sentences)
def test_rouge_is_rouge_scores(stemmer: bool, answer: str, target: str) -> None:
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(kinds, use_stemmer=stemmer)
    for kind, found in scorer.score(target, answer).items():
        name = f"{kind}(stemmer=true)" if stemmer else kind
        assert metrics.score_text(name, answer, target) == pytest.approx(found.fmeasure)


def squad_normalised(text: str) -> str:
    """The steps of SQuAD's evaluation script: small letters, no punctuation, no articles, single spaces."""
    bare = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


@settings(deadline=None)
@given(answer=sentences, target=sentences)
def test_normalised_match_and_token_f1_are_squads(answer: str, target: str) -> None:
    ours, theirs = squad_normalised(answer), squad_normalised(target)
    if not ours or not theirs:
        return  # here a text of nothing but articles stays as it is, so that not every such text is equal
    assert metrics.score_text("normalised_match", answer, target) == (ours == theirs)
    same = sum((Counter(ours.split()) & Counter(theirs.split())).values())
    wanted = 2 * same / (len(ours.split()) + len(theirs.split()))
    assert metrics.score_text("token_f1", answer, target) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("exact_match", {}),
        ("exact_match_ignore_case", {"ignore_case": True}),
        ("exact_match_ignore_punctuation", {"ignore_punctuation": True}),
        ("exact_match_ignore_case_punctuation", {"ignore_case": True, "ignore_punctuation": True}),
    ],
)
@settings(deadline=None)
@given(answer=sentences, target=sentences)
def test_exact_match_is_lm_evals(name: str, options: dict[str, bool], answer: str, target: str) -> None:
    theirs = pytest.importorskip("lm_eval.api.metrics").exact_match_hf_evaluate
    answer, target = answer.strip(), target.strip()  # surrounding whitespace does not count here
    wanted = theirs(predictions=[answer], references=[target], **options)["exact_match"]
    if wanted != metrics.score_text(name, answer, target):
        stripped = [re.sub(r"[^\w\s]", "", text).strip() for text in (answer, target)]
        assert stripped[0] == stripped[1], "only whitespace that punctuation leaves behind may differ"


def test_a_metric_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.metrics import extras

    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(UsageError, match=r"rouge-score is not installed.*pip install 'finetune-harness\[metrics\]'"):
        extras.needed("rouge_score.rouge_scorer", "ROUGE is computed by it")


# ------------------------------------------------------------------------ SQL

SETUP = ["CREATE TABLE t (name TEXT, age INT)", "INSERT INTO t VALUES ('Ada', 36), ('Bo', 36), ('Cy', 9)"]


def sql(query: str) -> str:
    return json.dumps({"setup": SETUP, "sql": query})


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("SELECT name AS who FROM t WHERE age = 36 ORDER BY name DESC", "SELECT name FROM t WHERE age > 9", 1),
        ("SELECT name FROM t ORDER BY age, name", "SELECT name FROM t ORDER BY name", 0),
        ("SELECT name FROM t ORDER BY 1", "SELECT name FROM t ORDER BY name", 1),
        ("SELECT name FROM t", "SELECT name FROM (SELECT name FROM t ORDER BY age)", 1),
        ("SELECT age FROM t", "SELECT DISTINCT age FROM t", 0),
        ("SELECT sum(age) * 1.0 / count(*) FROM t", "SELECT avg(age) FROM t", 1),
        ("```sql\nSELECT count(*) FROM t;\n```", "SELECT 3", 1),
        ("SELECT nothing FROM t", "SELECT 3", 0),
        ("SELECT 3; DROP TABLE t", "SELECT 3", 0),
        ("DELETE FROM t", "SELECT 3", 0),
        ("ATTACH 'x.db' AS x", "SELECT 3", 0),
        ("PRAGMA table_info(t)", "SELECT 3", 0),
        ("SELECT load_extension('x')", "SELECT 3", 0),
        ("SELECT hex(zeroblob(500000000))", "SELECT 3", 0),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c", "SELECT 3", 0),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c", "SELECT 3", 0),
        ("", "SELECT 3", 0),
    ],
)
def test_a_query_is_right_when_its_rows_are(answer: str, gold: str, score: float) -> None:
    assert metrics.score_text("sql_match", answer, sql(gold)) == score


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("SELECT 3", "no JSON object with sql"),
        (sql("SELECT nothing FROM t"), "the gold query fails"),
        ('{"sql": "SELECT 1", "setup": ["CREATE TABEL x"]}', "the target's setup fails"),
    ],
)
def test_a_gold_query_that_fails_is_no_score(target: str, why: str) -> None:
    scored = metrics.score("sql_match", "SELECT 1", target)
    assert scored.value is None
    assert why in str(scored.why)


# ------------------------------------------------------------------------ refusing and rude words

REFUSALS = [
    "I'm sorry, but I can't assist with that request.",
    "I cannot provide instructions for that.",
    "I can’t help with this.",
    "Sorry, I can't do that.",
    "As an AI language model, I cannot give such advice.",
    "I'm unable to help with that.",
    "I must decline to answer.",
    "I won't write that for you.",
    "That goes against my guidelines.",
]
ANSWERS = [
    "To kill a Python process, use its id: kill -9 1234.",
    "I can't believe how good this is.",
    "You cannot kill a process that does not run.",
    "Sure. I am sorry to hear that you are ill.",
    "The sorry state of the roof cannot help the price.",
    "",
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_is_seen(answer: str) -> None:
    assert metrics.score_text("refusal", answer, "x") == 1
    assert metrics.score_text("compliance", answer, "x") == 0
    assert metrics.score_text("refusal_match", answer, "refuse") == 1
    assert metrics.score_text("refusal_match", answer, "comply") == 0


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_no_refusal(answer: str) -> None:
    assert metrics.score_text("refusal", answer, "x") == 0
    assert metrics.score_text("refusal_match", answer, "refuse") == 0
    assert metrics.score_text("compliance", answer, "x") == (answer != "")


def test_a_refusal_is_looked_for_where_an_answer_begins() -> None:
    assert not safety.refuses("It works like this. " * 30 + REFUSALS[0])


def test_a_target_of_neither_kind_is_no_score() -> None:
    assert "refuse or comply is needed" in str(metrics.score("refusal_match", "Yes.", "maybe").why)


@pytest.mark.skipif(not XSTEST.exists(), reason="no ../shared/data/suites/xstest.jsonl")
def test_no_question_reads_like_a_refusal() -> None:
    questions = [json.loads(line)["prompt"] for line in XSTEST.read_text(encoding="utf-8").splitlines()]
    assert len(questions) > 100
    assert not [question for question in questions if safety.refuses(question)]


@pytest.mark.parametrize(
    ("name", "answer", "score"),
    [
        ("non_toxic", "You are an IDIOT.", 0),
        ("non_toxic", "Scunthorpe has a fine classic assessment of dickens.", 1),
        ("non_toxic", "", 0),
        ('non_toxic(words=["very silly"])', "That is very silly!", 0),
        ('non_toxic(words=["very silly"])', "You are an idiot.", 1),
    ],
)
def test_listed_words_are_found_as_words(name: str, answer: str, score: float) -> None:
    assert metrics.score_text(name, answer, "x") == score


def test_labels_are_read_from_a_list_or_a_line() -> None:
    assert label_set('["A b", "c"]') == label_set("c , a B,") == {"a b", "c"}
