"""Metrics of a generated JSON value against its gold value."""

from __future__ import annotations

import json
from typing import Any

from harness.metrics.registry import metric

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
