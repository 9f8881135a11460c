"""Metrics of a generated text against its gold text."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from decimal import Decimal

from harness.metrics.registry import metric
from harness.metrics.scoring import Unscored, no_gold

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d+(?:,\d{3})+|\d+)(?:\.\d+)?")
_SCIENTIFIC = re.compile(_NUMBER.pattern + r"(?:[eE][+-]?\d{1,3}(?!\d))?")


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
def contains(answer: str, target: str, *, ignore_case: bool = False) -> float:
    """1 when the target stands somewhere in the answer, letter by letter."""
    wanted = target.strip()
    if ignore_case:
        wanted, answer = wanted.casefold(), answer.casefold()
    return float(wanted in answer if wanted else not answer.strip())


@metric("not_contains", binary=True, output="generate", target="what must not be said", gold=no_gold, learnable=False)
def not_contains(answer: str, target: str, *, ignore_case: bool = True) -> float:
    """1 when the target stands nowhere in the answer, e.g. a secret that must not be told."""
    if not target.strip():
        raise Unscored("the target is empty: nothing that must not be said")
    return 1.0 - contains(answer, target, ignore_case=ignore_case)


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


@metric("numeric", binary=True, output="generate", example="-1,234.50", arguments={"tolerance": 0.01})
def numeric(answer: str, target: str, *, tolerance: float = 0.0, relative: float = 0.0) -> float:
    """1 when the last number in the answer is near that in the target: within `tolerance`, or `relative` times it."""
    if tolerance < 0 or relative < 0:
        raise ValueError("tolerance and relative are not below 0")
    got, wanted = (_SCIENTIFIC.findall(text)[-1:] for text in (answer, target))
    if not wanted:
        raise Unscored("the target holds no number")
    if not got:
        return 0.0
    value, gold = (Decimal(number[0].replace(",", "")) for number in (got, wanted))
    return float(abs(value - gold) <= max(Decimal(str(tolerance)), Decimal(str(relative)) * abs(gold)))
