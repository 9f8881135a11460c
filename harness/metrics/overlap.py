"""Metrics of the overlap of an answer with its gold text: BLEU, chrF and ROUGE by their reference implementations.

Each sample is scored from 0 to 1. BLEU and chrF of a corpus are no mean of these: see `corpus_bleu`, `corpus_chrf`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.metrics.extras import needed
from harness.metrics.registry import metric

_SENTENCE = "The cat sat quietly on the mat."


@cache
def _sacrebleu(kind: str, **options: Any) -> Any:
    return getattr(needed("sacrebleu.metrics", f"{kind} is computed by it"), kind)(**options)


@cache
def _rouge(kind: str, stemmer: bool) -> Any:
    return needed("rouge_score.rouge_scorer", "ROUGE is computed by it").RougeScorer([kind], use_stemmer=stemmer)


def _share(percent: float) -> float:
    """Of 100 to of 1; sacrebleu's best is 100.00000000000004."""
    return min(max(percent / 100, 0.0), 1.0)


@metric("bleu", binary=False, example=_SENTENCE)
def bleu(answer: str, target: str) -> float:
    """Sentence BLEU (sacrebleu: 13a tokens, exponential smoothing, effective order), 0 to 1."""
    return _share(_sacrebleu("BLEU", effective_order=True).sentence_score(answer, [target]).score)


@metric("chrf", binary=False, example=_SENTENCE)
def chrf(answer: str, target: str, *, words: int = 0) -> float:
    """Sentence chrF (sacrebleu: characters up to 6-grams; `words: 2` is chrF++), 0 to 1."""
    return _share(_sacrebleu("CHRF", word_order=words).sentence_score(answer, [target]).score)


def _rouge_f1(kind: str, answer: str, target: str, stemmer: bool) -> float:
    return float(_rouge(kind, stemmer).score(target, answer)[kind].fmeasure)


@metric("rouge1", binary=False, example=_SENTENCE)
def rouge1(answer: str, target: str, *, stemmer: bool = False) -> float:
    """ROUGE-1 F1: shared words (rouge-score; letters a to z and digits only)."""
    return _rouge_f1("rouge1", answer, target, stemmer)


@metric("rouge2", binary=False, example=_SENTENCE)
def rouge2(answer: str, target: str, *, stemmer: bool = False) -> float:
    """ROUGE-2 F1: shared pairs of words (rouge-score)."""
    return _rouge_f1("rouge2", answer, target, stemmer)


@metric("rougeL", binary=False, example=_SENTENCE)
def rouge_l(answer: str, target: str, *, stemmer: bool = False) -> float:
    """ROUGE-L F1: longest common subsequence of words (rouge-score)."""
    return _rouge_f1("rougeL", answer, target, stemmer)


@metric("rougeLsum", binary=False, example=_SENTENCE)
def rouge_lsum(answer: str, target: str, *, stemmer: bool = False) -> float:
    """ROUGE-L F1 of a summary: common subsequences line by line (rouge-score)."""
    return _rouge_f1("rougeLsum", answer, target, stemmer)
