"""Metrics of a generated JSON value against its gold value."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from typing import Any

from harness.metrics.extras import needed
from harness.metrics.files import text_of
from harness.metrics.registry import metric
from harness.metrics.scoring import Unscored, no_gold, target_object

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


def _leaves(value: Any, path: str = "") -> Counter[str]:
    """Every value that holds no others, with the path to it; the place in a list does not count."""
    if isinstance(value, dict) and value:
        return sum((_leaves(inner, f"{path}.{key!r}") for key, inner in value.items()), Counter())
    if isinstance(value, list) and value:
        return sum((_leaves(inner, f"{path}[]") for inner in value), Counter())
    plain = float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value
    return Counter([f"{path}={plain!r}"])


@metric("json_leaf_f1", binary=False, output="generate", example='{"a":{"b":[1,2]},"c":null}')
def json_leaf_f1(answer: str, target: str) -> float:
    """F1 over all nested values with their paths; the order of a list does not count."""
    got, wanted = _parsed(answer), _parsed(target)
    if got is _INVALID or wanted is _INVALID:
        return 0.0
    ours, theirs = _leaves(got), _leaves(wanted)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    library = needed("jsonschema", "JSON Schema is checked by it")
    parsed = json.loads(schema)
    kind = library.validators.validator_for(parsed, default=library.Draft202012Validator)
    try:
        kind.check_schema(parsed)
    except library.SchemaError as fault:
        raise ValueError(f"no JSON Schema: {fault.message}") from fault
    # An empty registry: `$ref` reaches into the schema itself and never to a file or the network.
    return kind(parsed, registry=needed("referencing", "JSON Schema is checked by it").Registry())


def _allows(schema: str, answer: str) -> float:
    value, validator = _parsed(answer), _validator(schema)
    try:
        return float(value is not _INVALID and validator.is_valid(value))
    except (needed("referencing.exceptions", "JSON Schema is checked by it").Unresolvable, RecursionError) as fault:
        raise ValueError(f"the schema cannot be followed: {fault}") from fault


@metric("json_schema", binary=True, example='{"a":1}', arguments={"schema": {"type": "object", "required": ["a"]}})
def json_schema(answer: str, target: str, *, schema: dict[str, Any] | None = None, file: str = "") -> float:
    """1 when the answer is one JSON value that `schema` (or a `file` beside the spec) allows, whatever the target."""
    if (schema is None) == (not file):
        raise ValueError("give a schema, or a file that holds one")
    return _allows(text_of(file) if schema is None else json.dumps(schema, sort_keys=True), answer)


@metric(
    "target_json_schema", binary=True, example='{"type":"object","required":["a"]}', target="a JSON Schema",
    gold=no_gold,
    learnable=False,
)  # fmt: skip
def target_json_schema(answer: str, target: str) -> float:
    """1 when the answer is one JSON value that the target, a JSON Schema, allows."""
    try:
        return _allows(json.dumps(target_object(target), sort_keys=True), answer)
    except ValueError as fault:
        raise Unscored(str(fault)) from fault


def _calls(text: str) -> list[tuple[str, Any]] | None:
    """The calls that a text makes, in the forms that models and APIs write them; None when it is none of these."""
    value = _parsed(text.strip().removeprefix("<tool_call>").removesuffix("</tool_call>").strip())
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    calls = [one.get("function", one) if isinstance(one, dict) and isinstance(one.get("function"), dict) else one
             for one in (value if isinstance(value, list) else [value])]  # fmt: skip
    found = []
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return None
        arguments = call.get("arguments", call.get("parameters", {}))
        found.append((call["name"], _parsed(arguments) if isinstance(arguments, str) else arguments))
    return found


@metric("tool_call_match", binary=True, example='{"name":"weather","arguments":{"city":"Oslo","days":2}}')
def tool_call_match(answer: str, target: str, *, arguments: bool = True) -> float:
    """1 when the answer makes the target's calls: same names and arguments, in any order (no call where it has none).

    A call is `{"name": …, "arguments": {…}}`, a list of them, or the `tool_calls` of a chat API. A target that
    is no call wants none: any other answer is right. `arguments: false` compares names alone.
    """
    got, wanted = _calls(answer), _calls(target)
    if wanted is None or not wanted:
        return float(not got and bool(answer.strip()))
    if got is None or len(got) != len(wanted):
        return 0.0
    left = list(got)
    for name, given in wanted:
        same = (i for i, (other, values) in enumerate(left)
                if other == name and (not arguments or (values is not _INVALID and _same(values, given))))  # fmt: skip
        index = next(same, None)
        if index is None:
            return 0.0
        del left[index]
    return 1.0
