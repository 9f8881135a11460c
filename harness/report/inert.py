"""Text of models and users made inert: for markdown lines, table cells and code fences, and for XML."""

from __future__ import annotations

import re
import unicodedata

_JOINERS = frozenset("\u00ad\u200c\u200d")
"""Invisible characters that words and emoji are written with; all others could hide or reorder what is read."""
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})

_MARKUP = re.compile(r"([\\`*|<>~#$!@&]|\](?=[(\[:])|(?<!\w)_|_(?!\w)|:(?=//)|(?<=\bwww)\.)")


def inert(text: str) -> str:
    """Characters that a terminal obeys, that reorder a line or that nobody sees become replacement characters."""
    return "".join("\ufffd" if _hidden(c) else c for c in text.replace("\r\n", "\n"))


def _hidden(c: str) -> bool:
    return unicodedata.category(c) in _UNSEEN and c not in "\n\t" and c not in _JOINERS


def line(value: object) -> str:
    """One line of inert text, for a place that knows no markup."""
    return inert(" ".join(str(value).split()))


def cell(value: object) -> str:
    """Text for a markdown table cell or line: no markup, no link, no line break; a `_` inside a word is none."""
    return _MARKUP.sub(r"\\\1", line(value))


def fence(text: str | None) -> str:
    """Text inside a code fence that it cannot close."""
    text = "(no answer)" if text is None else inert(text)
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks}text\n{text}\n{ticks}"
