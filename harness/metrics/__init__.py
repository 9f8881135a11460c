"""Metrics: one decorated pure function each, from an answer and its gold to a score between 0 and 1.

Text metrics get (answer, target). Choice metrics get (logprobs, choices, target index). A metric's keyword-only
parameters are its arguments: `numeric(tolerance=0.01)`. To add one, write the function and decorate it; contract
tests run over every entry of `METRICS`. Corpus metrics are no mean of scores per sample: one decorated class each.

    registry, arguments, scoring, extras    how metrics are found, spelled and called; what stands for no score
    text, patterns, overlap, labels, structured, sql, safety, semantic, choice    the metrics
    instructions, checks, language          instructions whose keeping can be checked
    code, sandbox, jail                     answers that are run, and what holds them; pass@k
    judged, tools                           what a judge says; what a metric may use
    own, files                              a user's own metric
    corpus, corpus_labels, corpus_choice    corpus metrics, of texts, of labels and of log-likelihoods
    filters                                 what an answer passes before it is scored
"""

from harness.metrics import choice as choice  # each of these registers its metrics
from harness.metrics import code as code
from harness.metrics import corpus_labels as corpus_labels
from harness.metrics import instructions as instructions
from harness.metrics import judged as judged
from harness.metrics import labels as labels
from harness.metrics import overlap as overlap
from harness.metrics import patterns as patterns
from harness.metrics import safety as safety
from harness.metrics import semantic as semantic
from harness.metrics import sql as sql
from harness.metrics import structured as structured
from harness.metrics import text as text
from harness.metrics.arguments import entry
from harness.metrics.code import pass_at_k
from harness.metrics.corpus import CORPUS_METRICS, CorpusMetric, CorpusValue, byte_perplexity
from harness.metrics.corpus_choice import CHOICE_CORPUS_METRICS, ChoiceCorpusMetric, ChoiceCorpusValue
from harness.metrics.filters import FILTERS, apply_filters
from harness.metrics.judged import JudgeSpec, Preference, agreement, prefer
from harness.metrics.own import bind, digest_of, files_of, names_a_file
from harness.metrics.registry import (
    METRICS,
    Metric,
    canonical,
    get,
    gold_answer,
    higher_is_better,
    metric,
    score,
    score_choice,
    score_text,
)
from harness.metrics.sandbox import protection
from harness.metrics.scoring import Scored, Unscored
from harness.metrics.tools import Judge, Tools, afresh, using

__all__ = [
    "CHOICE_CORPUS_METRICS",
    "CORPUS_METRICS",
    "FILTERS",
    "METRICS",
    "ChoiceCorpusMetric",
    "ChoiceCorpusValue",
    "CorpusMetric",
    "CorpusValue",
    "Judge",
    "JudgeSpec",
    "Metric",
    "Preference",
    "Scored",
    "Tools",
    "Unscored",
    "afresh",
    "agreement",
    "apply_filters",
    "bind",
    "byte_perplexity",
    "canonical",
    "digest_of",
    "entry",
    "files_of",
    "get",
    "gold_answer",
    "higher_is_better",
    "metric",
    "names_a_file",
    "pass_at_k",
    "prefer",
    "protection",
    "score",
    "score_choice",
    "score_text",
    "using",
]
