"""Metrics: one decorated pure function each, from an answer and its gold to a score between 0 and 1.

Text metrics get (answer, target). Choice metrics get (logprobs, choices, target index).
To add one, write the function and decorate it; contract tests run over every entry of `METRICS`.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from harness.errors import Problem, UsageError, did_you_mean
from harness.records import OutputType

TextScore = Callable[[str, str], float]
ChoiceScore = Callable[[Sequence[float], Sequence[str], int], float]
Score = TypeVar("Score", bound=Callable[..., float])


@dataclass(frozen=True, slots=True)
class Metric:
    """One entry of the registry."""

    name: str
    output: OutputType
    """`generate`: scores a text; `choice`: scores the log-likelihoods of choices."""
    higher_is_better: bool
    binary: bool
    """True when every score is 0 or 1."""
    example: str
    """A gold answer for which the metric is meant."""
    summary: str
    """First line of the function's docstring."""
    function: Callable[..., float]


METRICS: dict[str, Metric] = {}


def metric(
    name: str, *, higher_is_better: bool = True, binary: bool, output: OutputType, example: str = "Paris"
) -> Callable[[Score], Score]:
    """Register a pure function under `name`."""

    def register(function: Score) -> Score:
        summary = (function.__doc__ or "").strip().split("\n")[0]
        METRICS[name] = Metric(name, output, higher_is_better, binary, example, summary, function)
        return function

    return register


def get(name: str) -> Metric:
    """The metric of that name; UsageError with the nearest name otherwise."""
    if name not in METRICS:
        raise UsageError(Problem("", f"unknown metric {name!r}", did_you_mean(name, list(METRICS))))
    return METRICS[name]


def score_text(name: str, answer: str, target: str) -> float:
    """Score a generated answer."""
    return float(_of_kind(name, "generate").function(answer, target))


def score_choice(
    name: str, logprobs: Sequence[float], choices: Sequence[str], target: int, delimiter: str = ""
) -> float:
    """Score the log-likelihoods of choices.

    `delimiter` is what stands before each choice as it was asked (`Task.target_delimiter`):
    lm-eval does not count it in a choice's length, so it is taken off first.
    """
    bare = [choice.removeprefix(delimiter) for choice in choices]
    if len(logprobs) != len(bare) or not 0 <= target < len(bare):
        raise ValueError(f"{len(logprobs)} logprobs, {len(bare)} choices, target {target}")
    return float(_of_kind(name, "choice").function(logprobs, bare, target))


def _of_kind(name: str, output: OutputType) -> Metric:
    found = get(name)
    if found.output != output:
        known = [other.name for other in METRICS.values() if other.output == output]
        raise UsageError(
            Problem("", f"metric {name!r} does not score {output} items", f"Known: {', '.join(sorted(known))}")
        )
    return found


# ------------------------------------------------------------------------ filters

FILTERS: dict[str, Callable[[str, str], str]] = {
    "remove_whitespace": lambda text, _: text.strip(),
    "lowercase": lambda text, _: text.lower(),
    "uppercase": lambda text, _: text.upper(),
    "regex": lambda text, argument: _extract(text, **json.loads(argument)),
}
"""lm-eval's filters that an answer may pass before it is scored: (text, argument as JSON) to text."""


def apply_filters(text: str, filters: Sequence[tuple[str, str]]) -> str:
    """Apply a task's filters in order."""
    for name, argument in filters:
        text = FILTERS[name](text, argument)
    return text


def _extract(text: str, regex_pattern: str, group_select: int = 0, fallback: str = "[invalid]") -> str:
    """The match of the given number, as lm-eval's `regex` filter takes it; too few matches give the fallback."""
    matches = re.findall(regex_pattern, text)
    if not -len(matches) <= group_select < len(matches):
        return fallback
    chosen = matches[group_select]
    if isinstance(chosen, tuple):
        chosen = next((group for group in chosen if group), fallback)
    return str(chosen).strip()


# ------------------------------------------------------------------- text metrics

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d+(?:,\d{3})+|\d+)(?:\.\d+)?")


@metric("exact_match", binary=True, output="generate")
def exact_match(answer: str, target: str) -> float:
    """1 when answer and target are the same text, surrounding whitespace aside."""
    return float(answer.strip() == target.strip())


@metric("exact_match_ignore_case", binary=True, output="generate")
def exact_match_ignore_case(answer: str, target: str) -> float:
    """exact_match after lower-casing (lm-eval's `ignore_case`)."""
    return exact_match(answer.lower(), target.lower())


@metric("exact_match_ignore_punctuation", binary=True, output="generate")
def exact_match_ignore_punctuation(answer: str, target: str) -> float:
    """exact_match after removing ASCII punctuation (lm-eval's `ignore_punctuation`)."""
    return exact_match(answer.translate(_WITHOUT_PUNCTUATION), target.translate(_WITHOUT_PUNCTUATION))


@metric("exact_match_ignore_case_punctuation", binary=True, output="generate")
def exact_match_ignore_case_punctuation(answer: str, target: str) -> float:
    """exact_match after both (lm-eval's `ignore_case` and `ignore_punctuation`)."""
    return exact_match_ignore_punctuation(answer.lower(), target.lower())


def _normalised(text: str) -> str:
    """Case, punctuation, articles and whitespace folded; a text of nothing else stays as it is."""
    plain = unicodedata.normalize("NFC", text).casefold()
    letters = "".join(char for char in plain if not unicodedata.category(char).startswith("P"))
    words = [word for word in letters.split() if word not in {"a", "an", "the"}]
    return " ".join(words or plain.split())


@metric("normalised_match", binary=True, output="generate")
def normalised_match(answer: str, target: str) -> float:
    """1 when both are equal once case, punctuation, articles and whitespace are folded."""
    return float(_normalised(answer) == _normalised(target))


@metric("contains", binary=True, output="generate")
def contains(answer: str, target: str) -> float:
    """1 when the target stands somewhere in the answer, letter by letter."""
    wanted = target.strip()
    return float(wanted in answer if wanted else not answer.strip())


@metric("token_f1", binary=False, output="generate")
def token_f1(answer: str, target: str) -> float:
    """F1 over the words of both, after folding as in normalised_match (as in SQuAD)."""
    got, wanted = _normalised(answer).split(), _normalised(target).split()
    if not got or not wanted:
        return float(got == wanted)
    shared = sum((Counter(got) & Counter(wanted)).values())
    return 2 * shared / (len(got) + len(wanted))


@metric("numeric_match", binary=True, output="generate", example="-1,234.50")
def numeric_match(answer: str, target: str) -> float:
    """1 when the last number in the answer equals the last number in the target."""
    got, wanted = _last_number(answer), _last_number(target)
    return float(wanted is not None and got == wanted)


def _last_number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "")) if found else None


# ------------------------------------------------------------------- JSON metrics

_INVALID = object()


def _parsed(text: str) -> Any:
    """The JSON value, or `_INVALID`. Strict: no NaN, no key twice, nothing around the value."""
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return _INVALID


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: key order does not count, 1 is 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


@metric("json_valid", binary=True, output="generate", example='{"a":1}')
def json_valid(answer: str, target: str) -> float:
    """1 when the answer is one valid JSON value and nothing else; the target is not looked at."""
    return float(_parsed(answer) is not _INVALID)


@metric("json_match", binary=True, output="generate", example='{"a":[1,null]}')
def json_match(answer: str, target: str) -> float:
    """1 when answer and target are equal as JSON values."""
    got, wanted = _parsed(answer), _parsed(target)
    return float(got is not _INVALID and wanted is not _INVALID and _same(got, wanted))


@metric("json_field_f1", binary=False, output="generate", example='{"a":1,"b":null}')
def json_field_f1(answer: str, target: str) -> float:
    """F1 over the top-level fields (key and value) of two JSON objects; other values as in json_match."""
    got, wanted = _parsed(answer), _parsed(target)
    if not isinstance(got, dict) or not isinstance(wanted, dict) or not (got or wanted):
        return json_match(answer, target)
    shared = sum(key in got and _same(got[key], wanted[key]) for key in wanted)
    return 2 * shared / (len(got) + len(wanted))


# ----------------------------------------------------------------- choice metrics


def _best(values: Sequence[float]) -> int:
    """Index of the greatest value; the first of equals, as numpy's argmax in lm-eval."""
    return max(range(len(values)), key=values.__getitem__)


@metric("acc", binary=True, output="choice")
def acc(logprobs: Sequence[float], choices: Sequence[str], target: int) -> float:
    """1 when the right choice is the likeliest."""
    return float(_best(logprobs) == target)


@metric("acc_norm", binary=True, output="choice")
def acc_norm(logprobs: Sequence[float], choices: Sequence[str], target: int) -> float:
    """1 when the right choice is the likeliest per character (as lm-eval's acc_norm)."""
    return acc([value / len(choice) for value, choice in zip(logprobs, choices, strict=True)], choices, target)


@metric("acc_bytes", binary=True, output="choice")
def acc_bytes(logprobs: Sequence[float], choices: Sequence[str], target: int) -> float:
    """1 when the right choice is the likeliest per UTF-8 byte (as lm-eval's acc_bytes)."""
    return acc([value / len(choice.encode()) for value, choice in zip(logprobs, choices, strict=True)], choices, target)
