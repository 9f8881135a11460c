"""Every metric keeps its contract, and each scores what its name says."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import metrics
from harness.errors import UsageError
from harness.metrics import CORPUS_METRICS, METRICS, byte_perplexity, score_choice, score_text

TEXT = sorted(name for name, found in METRICS.items() if found.output == "generate")
CHOICE = sorted(name for name, found in METRICS.items() if found.output == "choice")

texts = st.text(max_size=30) | st.sampled_from(["{", '{"a":1}', "[1,NaN]", "-3.5", "1,000", "The the", "?!", ""])


@pytest.mark.parametrize("name", TEXT)
def test_gold_scores_one(name: str) -> None:
    example = METRICS[name].example
    assert score_text(name, example, example) == 1


@pytest.mark.parametrize("name", TEXT)
def test_an_empty_answer_scores_zero(name: str) -> None:
    assert score_text(name, "", METRICS[name].example) == 0


@pytest.mark.parametrize("name", TEXT)
@given(answer=texts, target=texts)
def test_text_scores_stay_in_range_and_repeat(name: str, answer: str, target: str) -> None:
    score = score_text(name, answer, target)
    assert 0 <= score <= 1
    assert score == score_text(name, answer, target)
    assert score in {0, 1} or not METRICS[name].binary


@pytest.mark.parametrize("name", CHOICE)
@given(logprobs=st.lists(st.floats(-1e6, -1e-6), min_size=2, max_size=5))
def test_exactly_one_choice_is_picked(name: str, logprobs: list[float]) -> None:
    choices = [f" choice{'x' * i}" for i in range(len(logprobs))]
    picked = [score_choice(name, logprobs, choices, i, " ") for i in range(len(choices))]
    assert sorted(picked) == [0.0] * (len(choices) - 1) + [1.0]


@pytest.mark.parametrize("name", CHOICE)
def test_a_tie_goes_to_the_first_choice(name: str) -> None:
    assert score_choice(name, [-1.0, -1.0], ["ab", "cd"], 0) == 1
    assert score_choice(name, [-1.0, -1.0], ["ab", "cd"], 1) == 0


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_says_what_it_is(name: str) -> None:
    assert METRICS[name].summary.endswith((".", ")"))
    assert METRICS[name].higher_is_better


@pytest.mark.parametrize(
    ("name", "answer", "target", "score"),
    [
        ("exact_match", " Paris\n", "Paris", 1),
        ("exact_match", "paris", "Paris", 0),
        ("exact_match_ignore_case", "paris", "Paris", 1),
        ("exact_match_ignore_case", "paris.", "Paris", 0),
        ("exact_match_ignore_punctuation", "Paris.", "Paris", 1),
        ("exact_match_ignore_punctuation", "paris.", "Paris", 0),
        ("exact_match_ignore_case_punctuation", "paris.", "Paris", 1),
        ("normalised_match", "The  CAT!", "cat", 1),
        ("normalised_match", "the dog", "cat", 0),
        ("normalised_match", "?", "!", 0),
        ("normalised_match", "a", "the", 0),
        ("contains", "It is Paris.", "Paris", 1),
        ("contains", "It is paris.", "Paris", 0),
        ("contains", "anything", "", 0),
        ("token_f1", "the cat sat", "cat", 2 / 3),
        ("token_f1", "dog", "cat", 0),
        ("numeric_match", "3 + 4 = 7", "7.0", 1),
        ("numeric_match", "It is 1,234 dollars", "1234", 1),
        ("numeric_match", "7", "-7", 0),
        ("numeric_match", "none", "none", 0),
        ("json_valid", "{}", "ignored", 1),
        ("json_valid", "{} and more", "{}", 0),
        ("json_valid", '{"a":NaN}', "{}", 0),
        ("json_valid", '{"a":1,"a":2}', "{}", 0),
        ("json_valid", "[" * 100_000, "{}", 0),
        ("json_match", '{"b": 2.0, "a": [1]}', '{"a":[1],"b":2}', 1),
        ("json_match", '{"a":true}', '{"a":1}', 0),
        ("json_match", '{"a":null}', "{}", 0),
        ("json_field_f1", '{"a":1,"b":3}', '{"a":1,"b":2}', 0.5),
        ("json_field_f1", '{"a":1}', '{"a":1,"b":2}', 2 / 3),
        ("json_field_f1", "{}", "{}", 1),
        ("json_field_f1", "[1]", "[1]", 1),
        ("json_field_f1", "broken", '{"a":1}', 0),
    ],
)
def test_known_answers_get_known_scores(name: str, answer: str, target: str, score: float) -> None:
    assert math.isclose(score_text(name, answer, target), score)


def test_acc_norm_divides_by_characters_without_the_delimiter() -> None:
    # Bare lengths 1 and 2 give -6 and -4; with the delimiter counted it would be a tie, -2 and -2.
    assert score_choice("acc_norm", [-6.0, -8.0], ["\n\na", "\n\nbb"], 1, "\n\n") == 1
    assert score_choice("acc_norm", [-6.0, -8.0], ["\n\na", "\n\nbb"], 1, "") == 0


def test_acc_bytes_divides_by_bytes() -> None:
    assert score_choice("acc_norm", [-3.0, -4.0], ["éé", "ab"], 0) == 1
    assert score_choice("acc_bytes", [-5.0, -4.0], ["éé", "ab"], 0) == 1
    assert score_choice("acc_norm", [-5.0, -4.0], ["éé", "ab"], 0) == 0


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown metric 'exact_mach'\. Did you mean 'exact_match'"):
        metrics.get("exact_mach")


def test_a_metric_of_the_other_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="'acc' does not score generate items"):
        score_text("acc", "a", "a")
    with pytest.raises(UsageError, match="'exact_match' does not score choice items"):
        score_choice("exact_match", [-1.0], ["a"], 0)


@pytest.mark.parametrize(("logprobs", "target"), [([-1.0], 0), ([-1.0, -2.0], 2), ([-1.0, -2.0], -1)])
def test_logprobs_that_do_not_fit_the_choices_are_refused(logprobs: list[float], target: int) -> None:
    with pytest.raises(ValueError, match="logprobs"):
        score_choice("acc", logprobs, ["a", "b"], target)


def test_filters_apply_in_order() -> None:
    regex = ("regex", '{"regex_pattern": "answer is (\\\\w+)|(\\\\d+)", "group_select": -1, "fallback": "none"}')
    assert metrics.apply_filters(" The answer is FOUR ", [("lowercase", ""), regex, ("uppercase", "")]) == "FOUR"
    assert metrics.apply_filters("1 or 2", [regex]) == "2"
    assert metrics.apply_filters("nothing", [regex]) == "none"


# ----------------------------------------------------------------- corpus metrics

GOLD = ["the cat sat on the mat", "a dog barked at night", "the cat sat on the mat", "birds sing in the morning"]
ANSWERS = ["the cat sat on a mat", "a dog barked at night", " birds sing in the morning ", "no idea at all"]


def corpus_value(name: str, answers: list[str], targets: list[str]) -> float:
    over = CORPUS_METRICS[name].over(targets)
    return float(over.value(sum(over.row(a, t) for a, t in zip(answers, targets, strict=True))))


@pytest.mark.parametrize("name", sorted(CORPUS_METRICS))
def test_gold_answers_reach_the_upper_limit_and_none_pass_it(name: str) -> None:
    low, high = CORPUS_METRICS[name].limits
    assert corpus_value(name, GOLD, GOLD) == pytest.approx(high)
    assert low < corpus_value(name, ANSWERS, GOLD) < high
    assert name not in METRICS


@pytest.mark.parametrize("name", sorted(CORPUS_METRICS))
def test_many_sums_are_valued_at_once(name: str) -> None:
    over = CORPUS_METRICS[name].over(GOLD)
    rows = np.array([over.row(a, t) for a, t in zip(ANSWERS, GOLD, strict=True)])
    drawn = np.random.default_rng(0).integers(0, 3, size=(2, 5, 4))
    drawn[..., 0] += 1
    together = over.value(drawn @ rows)
    assert together.shape == (2, 5)
    assert together[1, 3] == over.value(drawn[1, 3] @ rows)


def test_macro_f1_by_hand() -> None:
    # x: 1 right, 1 answered, 2 gold: 2/3. y: 1 right, 2 answered, 1 gold: 2/3. z: never answered: 0. "?" is no label.
    answers, targets = ["x", "y", "y ", "?"], ["x", "x", "y", "z"]
    assert corpus_value("macro_f1", answers, targets) == pytest.approx(4 / 9)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdx"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_macro_f1_agrees_with_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    answers, targets = [list(side) for side in zip(*pairs, strict=True)]
    wanted = sklearn.f1_score(targets, answers, average="macro", labels=sorted(set(targets)), zero_division=0)
    assert corpus_value("macro_f1", answers, targets) == pytest.approx(wanted)


@pytest.mark.parametrize("answers", [ANSWERS, GOLD[::-1], ["", "", "", "x"]])
def test_corpus_bleu_is_sacrebleus(answers: list[str]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    assert corpus_value("corpus_bleu", answers, GOLD) == pytest.approx(sacrebleu.corpus_bleu(answers, [GOLD]).score)


def test_corpus_bleu_without_sacrebleu_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(UsageError, match=r"sacrebleu is not installed. pip install 'finetune-harness\[metrics\]'"):
        CORPUS_METRICS["corpus_bleu"].over(GOLD)


def test_byte_perplexity_of_a_fair_coin_per_byte_is_two() -> None:
    assert byte_perplexity(np.array([[-8 * math.log(2), 8], [0.0, 3]])) == pytest.approx([2.0, 1.0])
