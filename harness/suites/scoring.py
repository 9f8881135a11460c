"""How a task's answers are scored: lm-eval's `metric_list` and `filter_list` as metric names and filter steps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness import metrics
from harness.errors import HarnessError, did_you_mean
from harness.metrics.corpus_choice import CHOICES
from harness.records import OutputType
from harness.suites.documents import Document
from harness.suites.reading import Reader

METRIC_KEYS = (
    *("metric", "aggregation", "higher_is_better", "ignore_case", "ignore_punctuation", "regexes_to_ignore"),
)
EXACT_MATCH_KEYS = ("ignore_case", "ignore_punctuation", "regexes_to_ignore")
DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("acc",),
    "generate_until": ("exact_match",),
}
CORPUS: dict[tuple[str, str], tuple[str, str]] = {
    ("generate_until", "bleu"): ("corpus_bleu", "bleu"),
    ("generate_until", "chrf"): ("corpus_chrf", "chrf"),
    ("multiple_choice", "f1"): ("choice_f1", "f1"),
    ("multiple_choice", "mcc"): ("choice_mcc", "matthews_corrcoef"),
    ("loglikelihood", "perplexity"): ("perplexity", "perplexity"),
}
"""What lm-eval computes over all answers: its output_type and metric to our metric, and its aggregation of that."""
OTHERWISE = {
    "mcc": "lm-eval takes every answer that is no gold label for a class of its own",
    "f1": "lm-eval's f1 is of choices",
}
"""Metrics of lm-eval that mean something else for generated text, and why they are not read there."""
Step = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is made of an answer."""

    metrics: tuple[str, ...]
    """Names from harness.metrics; the first is the primary one."""
    corpus: tuple[str, ...]
    """Names of metrics of all answers together; they are only reported."""
    filters: tuple[Step, ...]
    """What the answer passes first, as (function, argument)."""
    ignored: tuple[str, ...]
    """Patterns that are taken out of answer and target before they are compared (`regexes_to_ignore`)."""


def read_scoring(reader: Reader, output: OutputType, pipeline: str | None = None) -> Scoring:
    """The scoring of a task; faults go to the reader. pipeline: the name of one of several filter pipelines."""
    kind = str(reader.config.get("output_type", "generate_until"))
    entries = (
        reader.entries(reader.config["metric_list"], "metric_list")
        if "metric_list" in reader.config
        else [{"metric": name} for name in DEFAULT_METRICS.get(kind, ())]
    )
    places = [(entry, f"metric_list[{i}].") for i, entry in enumerate(entries)]
    corpus = [_corpus_metric(reader, entry, place, kind) for entry, place in places]
    names = [_metric(reader, *at, output) for at, found in zip(places, corpus, strict=True) if found is None]
    of_all = [name for name in corpus if name is not None]
    if len({*names, *of_all}) < len(places):
        reader.fault("metric_list", "names a metric twice")
    if of_all and not names:
        hint = f"Add one that scores every answer, such as {DEFAULT_METRICS.get(kind, ('acc',))[0]}"
        reader.fault("metric_list", "has only metrics of all answers together, and nothing to pair items by", hint=hint)
    if kind == "loglikelihood" and set(names) - {"acc"}:
        what = "has a metric that is none of loglikelihood tasks"
        reader.fault("metric_list", what, "Only `acc`, and `perplexity`, `byte_perplexity`, `word_perplexity`")
    ignored = _ignored(reader, entries)
    removed = tuple(("remove", pattern) for pattern in ignored)
    return Scoring(tuple(names), tuple(of_all), (*_filters(reader, output, pipeline), *removed), ignored)


def _corpus_metric(reader: Reader, entry: Document, path: str, kind: str) -> str | None:
    """The metric of all answers together that an entry names, in lm-eval's words or in ours; None for another."""
    name, aggregation = str(entry.get("metric")), entry.get("aggregation")
    found, of_lm_eval = CORPUS.get((kind, name), (name, None))
    known = metrics.CORPUS_METRICS if kind == "generate_until" else metrics.CHOICE_CORPUS_METRICS
    if kind == "generate_until" and name in OTHERWISE:
        reader.fault(f"{path}metric", f"{name!r} is not read of generated text: {OTHERWISE[name]}", "`macro_f1`")
        return name
    if found not in known or (aggregation == "mean" and name in metrics.METRICS):
        return None
    if aggregation not in (None, of_lm_eval):
        allowed = f"Only {of_lm_eval!r}" if of_lm_eval else "It has none: leave it out"
        reader.fault(f"{path}aggregation", f"{aggregation!r} is not that of {name!r}", allowed)
    if kind == "loglikelihood" and not found.endswith("perplexity"):
        reader.fault(f"{path}metric", f"{name!r} does not score {kind} tasks")
    reader.unknown_keys(entry, ("metric", "aggregation", "higher_is_better"), path)
    best = True if kind == "generate_until" else metrics.CHOICE_CORPUS_METRICS[found].higher_is_better
    if entry.get("higher_is_better", best) is not best:
        reader.fault(f"{path}higher_is_better", f"is {best} for {name!r}")
    return found


def corpus_faults(names: tuple[str, ...], choices: Iterable[int]) -> Iterator[str]:
    """Why metrics of all answers cannot be computed over items with so many choices each."""
    counts = set(choices)
    if "choice_f1" in names and counts != {2}:
        yield f"f1 is of two choices, the second being the positive one, and items have {_listed(counts)}"
    if any(name.startswith("choice_") for name in names) and max(counts, default=0) > CHOICES:
        yield f"items have {_listed(counts)} choices, and at most {CHOICES} are counted as labels"


def _listed(counts: set[int]) -> str:
    return ", ".join(map(str, sorted(counts)))


def _metric(reader: Reader, entry: Document, path: str, output: OutputType) -> str:
    reader.unknown_keys(entry, METRIC_KEYS, path)
    name = str(metrics.entry(entry.get("metric")))
    if name == "exact_match":
        options = [part for part in ("case", "punctuation") if entry.get(f"ignore_{part}")]
        name = "_".join(["exact_match", *(["ignore", *options] if options else [])])
    elif any(key in entry for key in EXACT_MATCH_KEYS):
        reader.fault(f"{path}{' / '.join(EXACT_MATCH_KEYS)}", "go with exact_match only")
    try:
        found = metrics.get(name)
    except HarnessError as error:
        problem = error.problems[0]
        reader.fault(f"{path}metric", problem.what, problem.allowed)
        return name
    if found.output != output:
        reader.fault(f"{path}metric", f"{name!r} does not score {reader.config.get('output_type')} tasks")
    if entry.get("aggregation", "mean") != "mean":
        reader.fault(f"{path}aggregation", f"{entry['aggregation']!r} is not supported", "Only `mean`")
    if entry.get("higher_is_better", found.higher_is_better) is not found.higher_is_better:
        reader.fault(f"{path}higher_is_better", f"is {found.higher_is_better} for {name!r}")
    return found.name


def _ignored(reader: Reader, entries: list[Document]) -> tuple[str, ...]:
    """Patterns of `regexes_to_ignore`. They change the answer for every metric of the task, so all must agree."""
    given = [entry.get("regexes_to_ignore") or [] for entry in entries]
    found = given[0] if given else []
    if any(other != found for other in given):
        reader.fault("metric_list", "has different regexes_to_ignore", "The same for all metrics of a task, or none")
        return ()
    if not isinstance(found, list) or not all(isinstance(pattern, str) for pattern in found):
        reader.fault("metric_list[0].regexes_to_ignore", f"is {found!r}", "A list of patterns is needed")
        return ()
    for pattern in found:
        try:
            re.compile(pattern)
        except re.error as fault:
            reader.fault("metric_list[0].regexes_to_ignore", f"{pattern!r} is no valid pattern ({fault})")
    return tuple(found)


def _filters(reader: Reader, output: OutputType, wanted: str | None) -> tuple[Step, ...]:
    if "filter_list" not in reader.config:
        return ()
    if output == "choice":
        reader.fault("filter_list", f"is not supported with {reader.config.get('output_type')}")
    pipelines = reader.entries(reader.config["filter_list"], "filter_list")
    names = [str(pipeline.get("name")) for pipeline in pipelines]
    if wanted is not None and wanted not in names:
        reader.fault("filter_list", f"has no pipeline {wanted!r}", did_you_mean(wanted, names))
    if wanted is None and len(pipelines) > 1:
        hint = "Name the one whose score counts: {suite: ..., filter: " + names[0] + "}"
        reader.fault("filter_list", f"has {len(pipelines)} pipelines", f"One is read of {', '.join(names)}", hint)
    if not pipelines:
        return ()
    at = names.index(wanted) if wanted in names else 0
    place = f"filter_list[{at}]."
    reader.unknown_keys(pipelines[at], ("name", "filter"), place)
    steps = reader.entries(pipelines[at].get("filter"), f"{place}filter")
    # lm-eval hands every step before take_first the list of answers, and every later one a bare string.
    functions = [step.get("function") for step in steps]
    if steps and (functions[-1] != "take_first" or functions.count("take_first") > 1):
        reader.fault(f"{place}filter", "take_first must be the last step, and only there")
    return tuple(_filter(reader, step, f"{place}filter[{i}].") for i, step in enumerate(steps[:-1]))


def _filter(reader: Reader, step: Document, path: str) -> Step:
    name = str(step.get("function"))
    known = [*(name for name in metrics.FILTERS if name != "remove"), "take_first"]
    if name not in known:
        reader.fault(f"{path}function", f"{name!r} is not supported", did_you_mean(name, known))
        return name, ""
    keys = ("function", "regex_pattern", "group_select", "fallback") if name == "regex" else ("function",)
    reader.unknown_keys(step, keys, path)
    arguments = {key: value for key, value in step.items() if key != "function"}
    if name != "regex":
        return name, ""
    try:
        re.compile(arguments["regex_pattern"])
    except (KeyError, TypeError, re.error) as fault:
        reader.fault(f"{path}regex_pattern", f"is missing or no valid pattern ({fault})")
    return name, json.dumps(arguments, sort_keys=True)
