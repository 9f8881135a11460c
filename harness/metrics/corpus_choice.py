"""Corpus metrics of log-likelihoods: calibration error and perplexity, over the choice items of a task.

They are reported with their interval. Less is better, and the value is no mean over items: none is gated on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from harness.metrics.corpus import Floats, byte_perplexity

BINS = 15
"""Bins of equal width that the confidence falls into; the number usual since Guo et al. (2017)."""


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
    """Least and greatest value. The least is the best."""
    summary: str
    """First line of the class's docstring."""
    over: Callable[[], ChoiceCorpusValue]
    """Makes the metric."""


CHOICE_CORPUS_METRICS: dict[str, ChoiceCorpusMetric] = {}
Made = TypeVar("Made", bound=Callable[[], ChoiceCorpusValue])


def choice_corpus_metric(name: str, *, limits: tuple[float, float]) -> Callable[[Made], Made]:
    """Register a class under `name`."""

    def register(made: Made) -> Made:
        summary = (made.__doc__ or "").strip().split("\n")[0]
        CHOICE_CORPUS_METRICS[name] = ChoiceCorpusMetric(name, limits, summary, made)
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
