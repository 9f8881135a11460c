"""Corpus metrics: values of all answers together that are no mean of scores per sample.

Each is a class with one decorator. It is made for the gold answers that it will be computed over and
turns every (answer, gold) into a row of statistics that may be added up, and sums of rows into the value.
So a bootstrap of the metric itself never looks at a text twice. Contract tests run over `CORPUS_METRICS`.

    corpus         the registry, and what translations are measured by
    corpus_labels  macro, micro and weighted F1, multi-label F1, MCC      corpus_choice  of log-likelihoods
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.metrics.extras import needed

Floats = NDArray[np.float64]


class CorpusValue(Protocol):
    """A corpus metric over given gold answers."""

    def row(self, answer: str, target: str) -> Floats:
        """Additive sufficient statistics of one answer, shape (p,)."""
        ...

    def value(self, sums: Floats) -> Floats:
        """The metric for each sum of rows: shape (..., p) to (...)."""
        ...


Over = TypeVar("Over", bound=Callable[[Sequence[str]], CorpusValue])


@dataclass(frozen=True, slots=True)
class CorpusMetric:
    """One entry of the registry."""

    name: str
    limits: tuple[float, float]
    """Least and greatest value. The greatest is the best."""
    summary: str
    """First line of the class's docstring."""
    over: Callable[[Sequence[str]], CorpusValue]
    """From the gold answers of all items to the metric over them."""


CORPUS_METRICS: dict[str, CorpusMetric] = {}


def corpus_metric(name: str, *, limits: tuple[float, float]) -> Callable[[Over], Over]:
    """Register a class under `name`."""

    def register(over: Over) -> Over:
        summary = (over.__doc__ or "").strip().split("\n")[0]
        CORPUS_METRICS[name] = CorpusMetric(name, limits, summary, over)
        return over

    return register


@corpus_metric("corpus_bleu", limits=(0.0, 100.0))
class CorpusBleu:
    """BLEU of the whole corpus, 0 to 100: n-gram counts and score by sacrebleu (Post 2018) as it comes.

    That is tokenisation 13a, n-grams up to 4, exponential smoothing, one reference an item.
    Raises UsageError when sacrebleu is not installed.
    """

    def __init__(self, targets: Sequence[str]) -> None:
        self._bleu: Any = needed("sacrebleu.metrics", "corpus_bleu is computed by it").BLEU()

    def row(self, answer: str, target: str) -> Floats:
        """Lengths of answer and reference, then matched and given n-grams of each order."""
        seen = self._bleu.corpus_score([answer], [[target]])
        return np.array([seen.sys_len, seen.ref_len, *seen.counts, *seen.totals], dtype=np.float64)

    def value(self, sums: Floats) -> Floats:
        """sacrebleu's score of each sum."""
        rows = sums.reshape(-1, sums.shape[-1]).tolist()
        return np.array([self._score(row) for row in rows]).reshape(sums.shape[:-1])

    def _score(self, row: list[float]) -> float:
        # sacrebleu wants whole tokens; averaged repeats may sum to a half.
        answered, wanted, counts = round(row[0]), round(row[1]), row[2:]
        order = len(counts) // 2
        found = self._bleu.compute_bleu(counts[:order], counts[order:], answered, wanted, self._bleu.smooth_method)
        return float(found.score)


@corpus_metric("corpus_chrf", limits=(0.0, 100.0))
class CorpusChrf:
    """chrF of the whole corpus, 0 to 100: character n-grams up to 6, beta 2 (Popović 2015), counted by sacrebleu.

    Raises UsageError when sacrebleu is not installed.
    """

    def __init__(self, targets: Sequence[str]) -> None:
        self._chrf: Any = needed("sacrebleu.metrics", "corpus_chrf is computed by it").CHRF()

    def row(self, answer: str, target: str) -> Floats:
        """Given, wanted and matched n-grams of each order."""
        return np.array(self._chrf._extract_corpus_statistics([answer], [[target]])[0], dtype=np.float64)

    def value(self, sums: Floats) -> Floats:
        """F2 of precision and recall, each averaged over the orders that both sides have."""
        given, wanted, matched = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
        both = (given > 0) & (wanted > 0)
        orders = np.maximum(both.sum(axis=-1), 1)
        precision, recall = (
            np.divide(matched, side, out=np.zeros_like(matched), where=both).sum(axis=-1) / orders
            for side in (given, wanted)
        )
        beta, below = 4.0, 4.0 * precision + recall
        found = np.divide((1 + beta) * precision * recall, below, out=np.zeros_like(below), where=below > 0)
        return np.asarray(100 * found)


def byte_perplexity(sums: Floats) -> Floats:
    """exp(-log-likelihood / bytes) of summed (log-likelihood in nats, UTF-8 bytes): shape (..., 2) to (...).

    Less is better; 1 is certainty. The formula of lm-eval's `byte_perplexity`, which sums over the rolling
    log-likelihood of whole documents; over the gold choice of each item it is the perplexity of the gold
    continuation given its question, another number than a document's.
    """
    return np.asarray(np.exp(-sums[..., 0] / sums[..., 1]))


def f1_of_counts(right: Floats, answered: Floats, gold: Floats) -> Floats:
    """2 * right / (answered + gold) of counts in any shape; 0 where there is neither."""
    both = answered + gold
    return np.asarray(np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0))


def correlation_of_counts(right: Floats, answered: Floats, gold: Floats) -> Floats:
    """Matthews' correlation coefficient (Gorodkin 2004) of counts a label, (..., labels) to (...).

    Covariance of answered and gold classes over the root of their variances; 0 where one of them does not vary.
    Answers beyond the labels (`answered` then sums to less than `gold`) count as one more class.
    """
    n = gold.sum(axis=-1)
    other = n - answered.sum(axis=-1)
    covariance = n * right.sum(axis=-1) - (answered * gold).sum(axis=-1)
    spread = (n**2 - (answered**2).sum(axis=-1) - other**2) * (n**2 - (gold**2).sum(axis=-1))
    root = np.sqrt(np.maximum(spread, 0.0))
    return np.asarray(np.divide(covariance, root, out=np.zeros_like(root), where=root > 0))
