"""lm-eval's filters, which an answer may pass before it is scored."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

FILTERS: dict[str, Callable[[str, str], str]] = {
    "remove_whitespace": lambda text, _: text.strip(),
    "lowercase": lambda text, _: text.lower(),
    "uppercase": lambda text, _: text.upper(),
    "regex": lambda text, argument: _extract(text, **json.loads(argument)),
    "remove": lambda text, argument: re.sub(argument, "", text),
}
"""Name to (text, argument) -> text. The argument of `regex` is JSON, that of `remove` the pattern that goes
(lm-eval's `regexes_to_ignore`, which is an option of its exact_match and no filter)."""


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
