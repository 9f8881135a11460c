"""Corpus metrics of log-likelihoods over the choice items of a task: calibration error, perplexity, F1 and MCC.

They are reported with their interval. The value is no mean over items, and none is gated on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np

from harness.metrics.corpus import Floats, byte_perplexity, correlation_of_counts, f1_of_counts

BINS = 15
"""Bins of equal width that the confidence falls into; the number usual since Guo et al. (2017)."""
CHOICES: Final = 64
"""Most choices of an item whose places can be counted as labels."""


class ChoiceCorpusValue(Protocol):
    """A corpus metric over the log-likelihoods of choices."""

    def row(self, logprobs: Sequence[float], right: int, text: str) -> Floats:
        """Additive sufficient statistics of one item, shape (p,). text: the right choice as it stands."""
        ...

    def value(self, sums: Floats) -> Floats:
        """The metric for each sum of rows: shape (..., p) to (...)."""
        ...


@dataclass(frozen=True, slots=True)
class ChoiceCorpusMetric:
    """One entry of the registry."""

    name: str
    limits: tuple[float, float]
    """Least and greatest value. The least is the best, or the greatest where `higher_is_better`."""
    summary: str
    """First line of the class's docstring."""
    over: Callable[[], ChoiceCorpusValue]
    """Makes the metric."""
    higher_is_better: bool = False


CHOICE_CORPUS_METRICS: dict[str, ChoiceCorpusMetric] = {}
Made = TypeVar("Made", bound=Callable[[], ChoiceCorpusValue])


def choice_corpus_metric(
    name: str, *, limits: tuple[float, float], higher_is_better: bool = False
) -> Callable[[Made], Made]:
    """Register a class under `name`."""

    def register(made: Made) -> Made:
        summary = (made.__doc__ or "").strip().split("\n")[0]
        CHOICE_CORPUS_METRICS[name] = ChoiceCorpusMetric(name, limits, summary, made, higher_is_better)
        return made

    return register


@choice_corpus_metric("ece", limits=(0.0, 1.0))
class CalibrationError:
    """Expected calibration error of the chosen choice's probability, in 15 bins (Naeini et al. 2015).

    A choice's probability is its likelihood over that of all choices of the item. The error is the mean over items of
    how far the confidence of their bin is from its accuracy. It is biased upwards on few items.
    """

    def row(self, logprobs: Sequence[float], right: int, text: str) -> Floats:
        """Confidence, hits and items of each bin, (3 * BINS,)."""
        shifted = np.exp(np.array(logprobs) - max(logprobs))
        best = int(shifted.argmax())
        confidence = float(shifted[best] / shifted.sum())
        row = np.zeros((3, BINS))
        row[:, min(int(confidence * BINS), BINS - 1)] = confidence, best == right, 1
        return row.reshape(-1)

    def value(self, sums: Floats) -> Floats:
        """Sum over bins of |confidence - hits| over all items."""
        confidence, hits, items = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, BINS), -2, 0)
        return np.asarray(np.abs(confidence - hits).sum(axis=-1) / np.maximum(items.sum(axis=-1), 1))


@choice_corpus_metric("byte_perplexity", limits=(1.0, float("inf")))
class BytePerplexity:
    """Perplexity per UTF-8 byte of the right choices, given their questions; 1 is certainty."""

    def row(self, logprobs: Sequence[float], right: int, text: str) -> Floats:
        """Log-likelihood in nats, and bytes."""
        return np.array([logprobs[right], len(text.encode())], dtype=np.float64)

    def value(self, sums: Floats) -> Floats:
        """exp(-log-likelihood / bytes)."""
        return byte_perplexity(sums)


@choice_corpus_metric("word_perplexity", limits=(1.0, float("inf")))
class WordPerplexity(BytePerplexity):
    """Perplexity per word of the right choices, given their questions; words stand between whitespace."""

    def row(self, logprobs: Sequence[float], right: int, text: str) -> Floats:
        """Log-likelihood in nats, and words as lm-eval counts them."""
        return np.array([logprobs[right], len(re.split(r"\s+", text))], dtype=np.float64)


@choice_corpus_metric("perplexity", limits=(1.0, float("inf")))
class Perplexity(BytePerplexity):
    """exp of minus the mean log-likelihood of the right choices (lm-eval's `perplexity`)."""

    def row(self, logprobs: Sequence[float], right: int, text: str) -> Floats:
        """Log-likelihood in nats, and 1."""
        return np.array([logprobs[right], 1.0])


class _Places:
    """The place of a choice among its item's as its label: 0 for the first."""

    def row(self, logprobs: Sequence[float], right: int, text: str) -> Floats:
        """Rightly chosen, chosen and right: one count a place each, (3 * CHOICES,)."""
        counts, chosen = np.zeros((3, CHOICES)), int(np.argmax(logprobs))
        counts[0, right] = chosen == right
        counts[1, chosen] = counts[2, right] = 1
        return counts.reshape(-1)

    def _split(self, sums: Floats) -> tuple[Floats, Floats, Floats]:
        hits, chosen, right = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, CHOICES), -2, 0)
        return hits, chosen, right


@choice_corpus_metric("choice_f1", limits=(0.0, 1.0), higher_is_better=True)
class ChoiceF1(_Places):
    """F1 of the second of two choices as the positive label (lm-eval's `f1`, scikit-learn's `binary`)."""

    def value(self, sums: Floats) -> Floats:
        """2 * hits / (chosen + right); 0 where the second choice is neither right nor chosen."""
        hits, chosen, right = (part[..., 1] for part in self._split(sums))
        return f1_of_counts(hits, chosen, right)


@choice_corpus_metric("choice_macro_f1", limits=(0.0, 1.0), higher_is_better=True)
class ChoiceMacroF1(_Places):
    """Mean over the places of choices of each one's F1; a place that is never right does not enter."""

    def value(self, sums: Floats) -> Floats:
        """The plain mean over places that are right somewhere."""
        hits, chosen, right = self._split(sums)
        f1 = np.where(right > 0, f1_of_counts(hits, chosen, right), 0.0)
        return np.asarray(f1.sum(axis=-1) / np.maximum((right > 0).sum(axis=-1), 1))


@choice_corpus_metric("choice_mcc", limits=(-1.0, 1.0), higher_is_better=True)
class ChoiceMcc(_Places):
    """Matthews' correlation coefficient of the places of choices (lm-eval's `mcc`); 0 where it is not defined."""

    def value(self, sums: Floats) -> Floats:
        """See `correlation_of_counts`."""
        return correlation_of_counts(*self._split(sums))
