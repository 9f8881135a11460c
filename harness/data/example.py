"""The normal form: what every row format becomes, and the questions that other modules ask of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation."""

    role: str
    """system, developer, user, assistant or tool."""
    content: str
    calls: str = ""
    """Tool calls as canonical JSON, or empty."""

    @property
    def said(self) -> str:
        """All that the turn says: its text, then its calls."""
        return f"{self.content}\n{self.calls}".strip() if self.calls else self.content


@dataclass(frozen=True, slots=True)
class Example:
    """One row: a prompt, the answer that is learned, and for preferences the one that is not."""

    line: int
    """1-based physical line."""
    format: str
    prompt: tuple[Turn, ...]
    answer: str
    """The final assistant turn, or the chosen answer."""
    rejected: str | None = None
    """The rejected answer of a preference row."""
    desirable: bool | None = None
    """The label of a KTO row."""
    scores: tuple[float, float] | None = None
    """Scores of chosen and rejected, where the row gives both."""
    id: str = ""
    cluster: str | None = None
    slices: dict[str, str] = field(default_factory=dict)

    def question(self, shared_system: str = "") -> str:
        """What is asked: all turns before the answer, without the system text that the whole file shares."""
        return "\n".join(
            turn.said for turn in self.prompt if not (turn.role in SYSTEM and turn.content == shared_system)
        )

    @property
    def system(self) -> str:
        """The system text, or empty."""
        return next((turn.content for turn in self.prompt if turn.role in SYSTEM), "")

    def texts(self) -> Iterator[tuple[str, str]]:
        """(where, text) of everything a model would read or learn."""
        for turn in self.prompt:
            yield turn.role, turn.content
        yield ("chosen answer" if self.rejected is not None else "answer"), self.answer
        if self.rejected is not None:
            yield "rejected answer", self.rejected


SYSTEM = ("system", "developer")
"""Roles that instruct rather than ask."""


def blank(text: str) -> bool:
    """Whether nothing is to be seen: white space and characters without width only."""
    return all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in text)


def folded(text: str) -> str:
    """The form in which two texts are the same: case and white space do not count."""
    return " ".join(text.casefold().split())
