"""Metrics: one decorated pure function each, from an answer and its gold to a score between 0 and 1.

Text metrics get (answer, target). Choice metrics get (logprobs, choices, target index).
To add one, write the function and decorate it; contract tests run over every entry of `METRICS`.
Corpus metrics (`CORPUS_METRICS`) are no mean of scores per sample: one decorated class each.

    text, structured, choice   the metrics        registry   how they are found
    corpus                     corpus metrics     filters    what an answer passes before it is scored
"""

from harness.metrics import choice as choice  # each of the three registers its metrics
from harness.metrics import structured as structured
from harness.metrics import text as text
from harness.metrics.corpus import CORPUS_METRICS, CorpusMetric, CorpusValue, byte_perplexity
from harness.metrics.filters import FILTERS, apply_filters
from harness.metrics.registry import METRICS, Metric, get, metric, score_choice, score_text

__all__ = [
    "CORPUS_METRICS",
    "FILTERS",
    "METRICS",
    "CorpusMetric",
    "CorpusValue",
    "Metric",
    "apply_filters",
    "byte_perplexity",
    "get",
    "metric",
    "score_choice",
    "score_text",
]
