"""A metric's name with its arguments, as one line of text: `numeric(tolerance=0.01)`.

That text is what specs resolve to and records hold. Arguments are JSON values, sorted by name, so one
metric with one set of arguments has one name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from harness.errors import Problem, UsageError

_CALL = re.compile(r"(?P<name>[A-Za-z0-9_./@:-]+)\s*\((?P<inside>.*)\)\s*", re.DOTALL)
_KEY = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")
_COMMA = re.compile(r"\s*(,|$)")
_FORM = "Write it as a name, as name(key=value) with JSON values, or in YAML as {name: {key: value}}"


def spelled(name: str, arguments: Mapping[str, Any]) -> str:
    """The one spelling of a metric with its arguments."""
    if not arguments:
        return name
    inside = (
        f"{key}={json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(',', ':'))}"
        for key, value in sorted(arguments.items())
    )
    return f"{name}({', '.join(inside)})"


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """A metric's spelling as (name, arguments). Raises UsageError when the arguments cannot be read."""
    text = text.strip()
    if "(" not in text:
        return text, {}
    call = _CALL.fullmatch(text)
    if call is None:
        raise UsageError(Problem("", f"cannot read metric {text!r}", _FORM))
    return call["name"], _arguments(call["inside"], text)


def _arguments(inside: str, text: str) -> dict[str, Any]:
    decoder, found, at = json.JSONDecoder(), dict[str, Any](), 0
    while at < len(inside) and inside[at:].strip():
        key = _KEY.match(inside, at)
        try:
            if key is None:
                raise ValueError("no key")
            found[key[1]], at = decoder.raw_decode(inside, key.end())
            comma = _COMMA.match(inside, at)
            if comma is None:
                raise ValueError("no comma")
        except (ValueError, RecursionError) as fault:
            raise UsageError(Problem("", f"cannot read the arguments of metric {text!r}", _FORM)) from fault
        at = comma.end()
    return found


def entry(given: Any) -> Any:
    """What a spec may hold for a metric as its spelling: text stays, `{numeric: {tolerance: 0.01}}` becomes text.

    Anything else is given back as it is, for the spec's own check to refuse.
    """
    if isinstance(given, dict) and len(given) == 1:
        name, arguments = next(iter(given.items()))
        if isinstance(name, str) and (arguments is None or isinstance(arguments, dict)):
            return spelled(name, {str(key): value for key, value in (arguments or {}).items()})
    return given
