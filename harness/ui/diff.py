"""Two texts word by word as HTML: what only one of them says is marked by colour, underline and, for readers, tags."""

from __future__ import annotations

import difflib
import re
from typing import Final

from harness.ui.markup import text

LONGEST: Final = 4000
"""Words of both texts together beyond which nothing is marked: comparing takes time that grows with their product."""
_WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")


def marked(mine: str, other: str, kind: str) -> str:
    """`mine`, escaped, with the words that `other` does not have at this place marked. kind: CSS class of the marks."""
    ours, theirs = _WORDS.findall(mine), _WORDS.findall(other)
    if not other or len(ours) + len(theirs) > LONGEST:
        return text(mine)
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    parts = []
    for name, start, end, _, _ in matcher.get_opcodes():
        said = text("".join(ours[start:end]))
        parts.append(said if name == "equal" or not said.strip() else f'<mark class="{kind}">{said}</mark>')
    return "".join(parts)


def block(label: str, body: str) -> str:
    """A labelled block of text that keeps its lines. body: HTML, escaped already."""
    return f'<div class="hx hx-said"><div class="soft">{text(label)}</div><pre>{body}</pre></div>'
