"""Physical lines of a data file, one at a time: split at `\\n` only, BOM and carriage return taken off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import DataError, Problem

UTF8_BOM = b"\xef\xbb\xbf"
OTHER_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one row."""

    rule: str
    message: str
    """In the user's words, without any personal value."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it stands in the file, before it is understood."""

    line: int
    """1-based physical line; the row number in a binary file."""
    value: dict[str, Any] | None
    """The JSON object, or None when there is none to be had."""
    faults: tuple[Fault, ...] = ()
    text: str = ""
    """The line itself, where there is no value."""


def physical_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of every line that is not blank, in bounded memory.

    Raises DataError when the file cannot be read or is no text at all.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    line = _without_mark(line, path)
                line = line.rstrip(b"\r\n")
                if line.strip():
                    yield number, line
    except FileNotFoundError as fault:
        raise DataError(Problem(str(path), "no such file", next="Create it, or correct the path")) from fault
    except OSError as fault:
        raise DataError(Problem(str(path), f"cannot read: {fault.strerror}", "UTF-8 JSON lines")) from fault


def _without_mark(line: bytes, path: Path) -> bytes:
    for mark, kind in OTHER_BOMS.items():
        if line.startswith(mark):
            hint = "Save it as UTF-8" if kind == "UTF-16" else "Unpack it first"
            raise DataError(Problem(str(path), f"is a {kind} file", "UTF-8 text", hint))
    return line.removeprefix(UTF8_BOM)


def json_lines(path: Path) -> Iterator[RawRow]:
    """Every line that is not blank as a row, faults and all."""
    for number, data in physical_lines(path):
        yield json_row(number, data)


def json_row(number: int, data: bytes) -> RawRow:
    """One line to a row. Bytes that are not UTF-8 are a fault, not an exception."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        what = f"byte 0x{data[fault.start]:02x} at column {fault.start + 1} is not UTF-8; save the file as UTF-8"
        return RawRow(number, None, (Fault("non_utf8", what),), data.decode("utf-8", "backslashreplace"))
    return json_text_row(number, text)


def json_text_row(number: int, text: str) -> RawRow:
    """One line of text to a row."""
    doubled: list[str] = []

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(given)
        if len(made) < len(given):
            doubled.extend(key for position, (key, _) in enumerate(given) if key in dict(given[:position]))
        return made

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant)
    except RecursionError:
        return RawRow(number, None, (Fault("invalid_json", "nested too deeply to be a row"),), text)
    except json.JSONDecodeError as fault:
        return RawRow(number, None, (Fault("invalid_json", f"not JSON: {fault.msg} at column {fault.colno}"),), text)
    except ValueError as fault:  # a number of thousands of digits, or NaN
        return RawRow(number, None, (Fault("invalid_json", f"not JSON: {str(fault)[:80]}"),), text)
    if not isinstance(value, dict):
        return RawRow(number, None, (Fault("not_an_object", f"got {kind(value)}; each line must be an object"),), text)
    faults = []
    if doubled:
        what = f"the key {shown(doubled[0])} stands twice, and readers disagree on which one counts; keep one"
        faults.append(Fault("duplicate_key", what))
    if "\\ud" in text.lower() and not is_text(value):
        what = "holds half of a surrogate pair (\\ud800 to \\udfff alone), which is not text; remove it"
        return RawRow(number, None, (*faults, Fault("lone_surrogate", what)), text)
    return RawRow(number, value, tuple(faults))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def is_text(value: Any) -> bool:
    """Whether every string in it can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def kind(value: Any) -> str:
    """What JSON calls it."""
    if value is None:
        return "null"
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


def shown(name: object) -> str:
    """A short name from the file, safe to show: control characters and lengths cut away."""
    text = "".join(c if c.isprintable() else "?" for c in str(name))
    return repr(text if len(text) <= 40 else text[:39] + "…")
