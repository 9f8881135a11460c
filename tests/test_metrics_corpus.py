"""Corpus metrics: one value of all answers, held against the libraries that define it."""

import math
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.metrics import CHOICE_CORPUS_METRICS, CORPUS_METRICS, METRICS, byte_perplexity

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


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from("abcdx"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_f1_agrees_with_scikit_learn(average: str, pairs: list[tuple[str, str]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    answers, targets = [list(side) for side in zip(*pairs, strict=True)]
    wanted = sklearn.f1_score(targets, answers, average=average, labels=sorted(set(targets)), zero_division=0)
    assert corpus_value(f"{average}_f1", answers, targets) == pytest.approx(wanted)


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from("abcx"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_mcc_agrees_with_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    answers, targets = [list(side) for side in zip(*pairs, strict=True)]
    answers = [answer if answer in targets else "?" for answer in answers]  # one class for all that are no label
    assume(len({*answers, *targets}) > 1)
    assert corpus_value("mcc", answers, targets) == pytest.approx(sklearn.matthews_corrcoef(targets, answers))


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sets(st.sampled_from("abc"), min_size=1)] * 2), min_size=1, max_size=20))
def test_multilabel_f1_agrees_with_scikit_learn(pairs: list[tuple[set[str], set[str]]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    answers, targets = [[", ".join(sorted(labels)) for labels in side] for side in zip(*pairs, strict=True)]
    columns = sorted({label for _, gold in pairs for label in gold})
    assume(len(columns) > 1)
    got, gold = ([[label in labels for label in columns] for labels in side] for side in zip(*pairs, strict=True))
    for average in ("macro", "micro"):
        wanted = sklearn.f1_score(np.array(gold), np.array(got), average=average, zero_division=0)
        assert corpus_value(f"multilabel_{average}_f1", answers, targets) == pytest.approx(wanted)


@pytest.mark.parametrize("answers", [ANSWERS, GOLD[::-1], ["", "", "", "x"], ["é", "\n", "ab", "the"]])
def test_corpus_chrf_is_sacrebleus(answers: list[str]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    assert corpus_value("corpus_chrf", answers, GOLD) == pytest.approx(sacrebleu.corpus_chrf(answers, [GOLD]).score)


@pytest.mark.parametrize("answers", [ANSWERS, GOLD[::-1], ["", "", "", "x"]])
def test_corpus_bleu_is_sacrebleus(answers: list[str]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    assert corpus_value("corpus_bleu", answers, GOLD) == pytest.approx(sacrebleu.corpus_bleu(answers, [GOLD]).score)


def test_corpus_bleu_without_sacrebleu_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(
        UsageError,
        match=r"sacrebleu is not installed. corpus_bleu is computed by it. pip install 'finetune-harness\[metrics\]'",
    ):
        CORPUS_METRICS["corpus_bleu"].over(GOLD)


def test_byte_perplexity_of_a_fair_coin_per_byte_is_two() -> None:
    assert byte_perplexity(np.array([[-8 * math.log(2), 8], [0.0, 3]])) == pytest.approx([2.0, 1.0])


# ------------------------------------------------------------------------ of log-likelihoods


def choice_value(name: str, items: list[tuple[list[float], int, str]]) -> float:
    over = CHOICE_CORPUS_METRICS[name].over()
    return float(over.value(np.sum([over.row(*item) for item in items], axis=0)))


@pytest.mark.parametrize("name", sorted(CHOICE_CORPUS_METRICS))
def test_certain_and_right_is_the_best_value(name: str) -> None:
    found = CHOICE_CORPUS_METRICS[name]
    best = found.limits[int(found.higher_is_better)]
    assert choice_value(name, [([0.0, -1e9], 0, "yes"), ([-1e9, 0.0], 1, "no way")]) == best
    assert choice_value(name, [([-3.0, -2.0], 0, "yes"), ([-1.0, -2.0], 0, "no")]) != best
    assert found.summary.endswith((".", ")"))


def test_calibration_error_by_hand() -> None:
    # Confidence 0.75 in all four, right in two of them: 0.25 off.
    sure = [math.log(0.75), math.log(0.25)]
    assert choice_value("ece", [(sure, 0, "a"), (sure, 1, "a"), (sure, 0, "a"), (sure, 1, "a")]) == pytest.approx(0.25)


def test_an_overconfident_and_an_underconfident_bin_do_not_cancel() -> None:
    over, under = [math.log(0.9), math.log(0.1)], [math.log(0.6), math.log(0.4)]
    assert choice_value("ece", [(over, 1, "a"), (under, 0, "a")]) == pytest.approx((0.9 + 0.4) / 2)


def test_perplexity_counts_bytes_and_words() -> None:
    items = [([-4 * math.log(2), -1.0], 0, "é b"), ([-1.0, -4 * math.log(2)], 1, "cd f")]
    assert choice_value("byte_perplexity", items) == pytest.approx(2.0)
    assert choice_value("word_perplexity", items) == pytest.approx(4.0)


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1])), min_size=1, max_size=30))
def test_f1_and_mcc_of_choices_are_those_of_lm_eval(pairs: list[tuple[int, int]]) -> None:
    metrics = pytest.importorskip("lm_eval.api.metrics")
    items = [([float(chosen == 0), float(chosen == 1)], gold, "a") for gold, chosen in pairs]
    assume(any(1 in pair for pair in pairs))  # else scikit-learn warns, and gives 0 as well
    assert choice_value("choice_f1", items) == pytest.approx(metrics.f1_score(pairs))
    assume(len(set(pairs)) > 1)
    assert choice_value("choice_mcc", items) == pytest.approx(metrics.matthews_corrcoef(pairs))


def test_macro_f1_of_choices_by_hand() -> None:
    # Place 0: 1 hit, 2 chosen, 1 right: 2/3. Place 1: 1 hit, 1 chosen, 2 right: 2/3. Place 2 is never right.
    items = [([1.0, 0.0, 0.0], 0, "a"), ([1.0, 0.0, 0.0], 1, "a"), ([0.0, 1.0, 0.0], 1, "a")]
    assert choice_value("choice_macro_f1", items) == pytest.approx(2 / 3)
