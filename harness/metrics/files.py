"""Files that a metric of the spec names (code, a list of words, a schema): read once, and pinned by content.

A file lies in the spec's folder. Its pinned name is `PATH@DIGEST`, eight digits of the sha256 of its bytes, so
whatever holds the metric's name (the spec's digest, records, comparisons) changes when the file does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from harness.errors import Problem, UsageError

LARGEST = 4 * 2**20
"""Bytes; what a metric names is read by people."""
_TEXTS: dict[str, str] = {}


def pin(name: str, folder: Path) -> str:
    """Read a file and give its pinned name. Raises UsageError for a file that is missing, outside, or not as pinned."""
    path, _, wanted = name.partition("@")
    file = folder / path
    inside = not PurePosixPath(path).is_absolute() and file.resolve().is_relative_to(folder.resolve())
    if not inside:
        raise UsageError(Problem(path, "lies outside the spec's folder", "A metric's files lie beside the spec"))
    try:
        content = file.read_bytes()
        text = content.decode("utf-8")
    except FileNotFoundError as fault:
        raise UsageError(Problem(path, f"no such file in {folder}", "A path from the spec's folder")) from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(Problem(path, f"cannot be read: {fault}", "A UTF-8 text")) from fault
    if len(content) > LARGEST:
        raise UsageError(Problem(path, f"has {len(content)} bytes", f"At most {LARGEST}"))
    digest = hashlib.sha256(content).hexdigest()[:8]
    if wanted and wanted != digest:
        hint = "The file has changed since the name was pinned; leave @… out to take it as it is now"
        raise UsageError(Problem(path, f"its digest is {digest}, not {wanted}", next=hint))
    pinned = f"{PurePosixPath(path)}@{digest}"
    _TEXTS[pinned] = text
    return pinned


def text_of(pinned: str) -> str:
    """The text of a pinned file; ValueError for one that was not read by this process."""
    if pinned not in _TEXTS:
        raise ValueError(f"{pinned!r} was not read: files are named in a spec and lie beside it")
    return _TEXTS[pinned]
