"""What answers look like, learned from the train rows: a closed set of texts, or the shape of JSON objects."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from harness.data import Split
from harness.records import Constraint, Item

UNSEEN = 0.02
"""Chance that the next answer is a new one, up to which a set of answers counts as closed."""
LONGEST_LABEL = 80
"""Characters up to which an answer can be a label."""
KINDS = {
    "bool": "boolean",
    "NoneType": "null",
    "int": "integer",
    "float": "number",
    "str": "string",
    "dict": "object",
    "list": "array",
}
"""Python's types of JSON values, as JSON Schema calls them."""
SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")
_ESCAPED = r"\\\g<0>"
MOST_LABELS = 500
"""Labels up to which they can be listed and chosen from."""


def closed_set(train: Split) -> tuple[str, ...] | None:
    """All answers, sorted, where the train rows show that there are no others; else None.

    The chance that the next answer is a new one is estimated by the share of rows whose answer stands only once
    (Good 1953, "The population frequencies of species"; Good-Turing), and may be at most `UNSEEN`.
    """
    answers = [item.target.strip() for item in train.to_learn_from() if item.choices is None]  # a pair's is no label
    if any(not text or "\n" in text or len(text) > LONGEST_LABEL for text in answers):
        return None
    return _closed(answers)


def _closed(values: Sequence[str]) -> tuple[str, ...] | None:
    counts = Counter(values)
    once = sum(count == 1 for count in counts.values())
    if not 2 <= len(counts) <= min(MOST_LABELS, len(values) // 2) or once > UNSEEN * len(values):
        return None
    return tuple(sorted(counts))


def balanced_over(items: Sequence[Item]) -> bool:
    """Whether answers repeat enough that rows can be spread over them."""
    return len({item.target.strip() for item in items}) <= len(items) // 2


def majority(train: Split) -> str | None:
    """The most frequent answer where answers are a closed set; of equals the first in the alphabet."""
    labels = closed_set(train)
    if labels is None:
        return None
    counts = Counter(item.target.strip() for item in train.to_learn_from())
    return min(labels, key=lambda label: (-counts[label], label))


def json_shape(train: Split) -> dict[str, Any] | None:
    """A JSON Schema that every train answer meets, where all are JSON objects; else None.

    Keys that all have are required, where they have a fixed place; texts that are a closed set are enumerated; no
    other keys are allowed where the keys are a closed set. A constraint writes `properties` in the order in which they
    stand here, which is that of the answers; keys that come in changing orders are `patternProperties`, which come in
    any.
    """
    objects = []
    for item in train.to_learn_from():
        try:
            value = json.loads(item.target)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        objects.append(value)
    return _object(objects) if objects else None


def _object(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for value in values for key in value)
    places: dict[str, float] = {}
    for value in values:
        for at, key in enumerate(value):
            places[key] = places.get(key, 0.0) + at / len(value) / counts[key]
    keys = sorted(counts, key=lambda key: (places[key], key))
    shapes = {key: _value([value[key] for value in values if key in value]) for key in keys}
    few = UNSEEN * len(values)
    in_order = sum(list(value) != [key for key in keys if key in value] for value in values) <= few
    ordered = keys if in_order else _leading(keys, values, few)
    rare = sum(count == 1 for count in counts.values())
    shape = {
        "type": "object",
        "properties": {key: shapes[key] for key in ordered},
        "required": [key for key in ordered if counts[key] == len(values)],
        "additionalProperties": rare > few,
    }
    if len(ordered) < len(keys):
        shape["patternProperties"] = {
            f"^{SPECIAL.sub(_ESCAPED, key)}$": shapes[key] for key in keys if key not in ordered
        }
    return shape


def _leading(keys: Sequence[str], values: Sequence[dict[str, Any]], few: float) -> list[str]:
    """The keys that all answers have and, but for a few, begin with, in one order."""
    leading: list[str] = []
    for at, key in enumerate(keys):
        elsewhere = sum(list(value)[at : at + 1] != [key] for value in values)
        if elsewhere > few or any(key not in value for value in values):
            break
        leading.append(key)
    return leading


def _value(values: Sequence[Any]) -> dict[str, Any]:
    kinds = sorted({_kind(value) for value in values})
    if kinds == ["object"]:
        return _object(values)
    if kinds == ["array"]:
        inner = [element for value in values for element in value]
        return {"type": "array", "items": _value(inner)} if inner else {"type": "array"}
    if kinds == ["string"] and (enum := _closed(values)) is not None and max(map(len, enum)) <= LONGEST_LABEL:
        return {"type": "string", "enum": list(enum)}
    if kinds == ["integer", "number"]:
        kinds = ["number"]
    return {"type": kinds[0] if len(kinds) == 1 else kinds}


def _kind(value: Any) -> str:
    return KINDS[type(value).__name__]


def constraint(given: str | Constraint, train: Split) -> tuple[str, Constraint] | None:
    """Structured output to try, with its name in a table; None for none. given: `PromptSpec.constrain`."""
    if isinstance(given, Constraint):
        kind = "choice" if given.choices else "json" if given.json_schema is not None else "regex"
        return kind, given
    if given == "never":
        return None
    labels = closed_set(train)
    if labels is not None:
        return "choice", Constraint(choices=labels)
    shape = json_shape(train)
    return ("json", Constraint(json_schema=shape)) if shape is not None else None


def fields_of(shape: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """The shape's keys from the outside in, as (dotted path, schema, required)."""
    patterns = shape.get("patternProperties", {})
    loose = {re.sub(r"\\(.)", r"\1", pattern[1:-1]): inner for pattern, inner in patterns.items()}
    for key, inner in (shape.get("properties", {}) | loose).items():
        yield path + key, inner, key in shape.get("required", ())
        if inner.get("type") == "object":
            yield from fields_of(inner, f"{path}{key}.")
