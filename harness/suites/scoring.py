"""How a task's answers are scored: lm-eval's `metric_list` and `filter_list` as metric names and filter steps."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from harness import metrics
from harness.errors import HarnessError, did_you_mean
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
Step = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is made of an answer."""

    metrics: tuple[str, ...]
    """Names from harness.metrics; the first is the primary one."""
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
    names = [_metric(reader, entry, f"metric_list[{i}].", output) for i, entry in enumerate(entries)]
    if len(set(names)) < len(names):
        reader.fault("metric_list", "names a metric twice")
    if kind == "loglikelihood" and set(names) - {"acc"}:
        hint = "The log-likelihood itself is in every sample, and `byte_perplexity` is a measure of it"
        reader.fault("metric_list", "has more than acc, the one metric of loglikelihood tasks", "Only `acc`", hint)
    ignored = _ignored(reader, entries)
    removed = tuple(("remove", pattern) for pattern in ignored)
    return Scoring(tuple(names), (*_filters(reader, output, pipeline), *removed), ignored)


def _metric(reader: Reader, entry: Document, path: str, output: OutputType) -> str:
    reader.unknown_keys(entry, METRIC_KEYS, path)
    name = str(entry.get("metric"))
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
    return name


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
