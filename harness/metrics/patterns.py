"""Metrics of a regular expression that an answer matches or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from harness.metrics.extras import needed
from harness.metrics.registry import metric
from harness.metrics.scoring import Unscored, no_gold

SECONDS = 2.0
"""How long one search may take: a pattern can be exponential in an answer's length."""


@lru_cache(maxsize=256)
def _compiled(pattern: str, ignore_case: bool) -> Any:
    library = needed("regex", "a regular expression on answers of any length needs a search that can be stopped")
    try:
        return library.compile(pattern, library.IGNORECASE if ignore_case else 0)
    except library.error as fault:
        raise ValueError(f"{pattern!r} is no regular expression: {fault}") from fault


def found(pattern: str, text: str, *, ignore_case: bool = False, whole: bool = False) -> bool:
    """Whether the pattern occurs in the text, or matches all of it.

    Raises ValueError for what is no pattern, and Unscored for a search that takes longer than `SECONDS`.
    """
    compiled = _compiled(pattern, ignore_case)
    with _in_time(pattern, text):
        return (compiled.fullmatch if whole else compiled.search)(text, timeout=SECONDS) is not None


def count(pattern: str, text: str) -> int:
    """How often the pattern occurs in the text, whatever its case; errors as for `found`."""
    with _in_time(pattern, text):
        return sum(1 for _ in _compiled(pattern, True).finditer(text, timeout=SECONDS))


@contextmanager
def _in_time(pattern: str, text: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as slow:
        raise Unscored(f"the pattern {pattern!r} took longer than {SECONDS:g} s on {len(text)} characters") from slow


@metric("regex", binary=True, arguments={"pattern": "[Pp]aris"})
def regex(answer: str, target: str, *, pattern: str, ignore_case: bool = False, whole: bool = False) -> float:
    """1 when the pattern occurs in the answer (`whole`: matches all of it); the target is not looked at."""
    return float(found(pattern, answer.strip(), ignore_case=ignore_case, whole=whole))


@metric("target_regex", binary=True, example="[Pp]aris", target="a regular expression", gold=no_gold, learnable=False)
def target_regex(answer: str, target: str, *, ignore_case: bool = False, whole: bool = False) -> float:
    """1 when the target, a regular expression, occurs in the answer (`whole`: matches all of it)."""
    try:
        return float(found(target, answer.strip(), ignore_case=ignore_case, whole=whole))
    except ValueError as fault:
        raise Unscored(str(fault)) from fault
