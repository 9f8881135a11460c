"""Versions of a data file: a fingerprint of its content, and which rows came, went and changed between two."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.data.example import Example, folded
from harness.data.files import open_rows
from harness.data.personal import masked
from harness.data.scan import Source, examples_of
from harness.records import digest

SHOWN = 60
"""Characters of a question or an answer that are shown."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that is not the same in both versions."""

    line_a: int | None
    line_b: int | None
    question: str
    """Its beginning, personal values replaced."""
    answer: str
    """Likewise; `old -> new` where it changed."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in ("line_a", "line_b", "question", "answer")}


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from one version of a data file to another."""

    fingerprints: tuple[str, str]
    unread: tuple[int, int]
    """Rows of each version that are no row in a known format, and are not compared."""
    same: int
    came: tuple[RowChange, ...]
    went: tuple[RowChange, ...]
    changed: tuple[RowChange, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        rows = {name: [row.document() for row in getattr(self, name)] for name in ("came", "went", "changed")}
        about = {"fingerprints": list(self.fingerprints), "unread": list(self.unread)}
        return {**about, "same": self.same, **rows}


def fingerprint(source: Source) -> str:
    """sha256 over the content of all well-formed rows; neither their order nor their ids count."""
    return _combined(identity(example) for example, _ in examples_of(source))


def identity(example: Example) -> str:
    """sha256 of what a model would read and learn from a row."""
    turns = [[turn.role, turn.content, turn.calls] for turn in example.prompt]
    return digest([turns, example.answer, example.rejected, example.desirable])


def _combined(identities: Iterator[str]) -> str:
    whole = hashlib.sha256()
    for one in sorted(identities):
        whole.update(one.encode())
    return whole.hexdigest()


def diff_files(a: str, b: str, columns: Mapping[str, str] | None = None) -> Diff:
    """Rows that came, went and changed from `a` to `b`, as a multiset: order does not count.

    A row that has the same id in both, or the same question, has changed; any other came or went.
    Raises DataError when a file cannot be read.
    """
    sources = [open_rows(file, columns) for file in (a, b)]
    left, right = (_by_identity(source) for source in sources)
    unread = [sum(1 for _ in source()) - _size(side) for source, side in zip(sources, (left, right), strict=True)]
    counts = {name: len(rows) for name, rows in left.items()}
    same = sum(min(count, len(right.get(name, ()))) for name, count in counts.items())
    went, came = _surplus(left, right), _surplus(right, left)
    changed = _paired(went, came)
    paired_a, paired_b = {one.line for one, _ in changed}, {other.line for _, other in changed}
    prints = tuple(_combined(name for name, rows in side.items() for _ in rows) for side in (left, right))
    return Diff(
        fingerprints=(prints[0], prints[1]),
        unread=(unread[0], unread[1]),
        same=same,
        came=tuple(_told(None, row) for row in came if row.line not in paired_b),
        went=tuple(_told(row, None) for row in went if row.line not in paired_a),
        changed=tuple(_told(one, other) for one, other in changed),
    )


def _by_identity(source: Source) -> dict[str, list[Example]]:
    rows: dict[str, list[Example]] = defaultdict(list)
    for example, _ in examples_of(source):
        rows[identity(example)].append(example)
    return rows


def _size(side: dict[str, list[Example]]) -> int:
    return sum(len(rows) for rows in side.values())


def _surplus(side: dict[str, list[Example]], other: dict[str, list[Example]]) -> list[Example]:
    """Rows that this side has more of than the other, by line."""
    more = [row for name, rows in side.items() for row in rows[len(other.get(name, ())) :]]
    return sorted(more, key=lambda row: row.line)


def _paired(went: list[Example], came: list[Example]) -> list[tuple[Example, Example]]:
    """Rows of both sides with one id, then those with one question."""
    pairs: list[tuple[Example, Example]] = []
    for key in (lambda row: row.id, lambda row: folded(row.question())):
        taken = Counter(side.line for pair in pairs for side in pair[1:])
        waiting: dict[str, list[Example]] = defaultdict(list)
        for row in came:
            if row.line not in taken and key(row):
                waiting[key(row)].append(row)
        done = {one.line for one, _ in pairs}
        left = [row for row in went if row.line not in done]
        pairs.extend((row, waiting[key(row)].pop(0)) for row in left if waiting.get(key(row)))
    return sorted(pairs, key=lambda pair: pair[0].line)


def _told(one: Example | None, other: Example | None) -> RowChange:
    shown = other or one
    assert shown is not None  # noqa: S101  one of the two is there
    answer = _short(shown.answer)
    if one is not None and other is not None and one.answer != other.answer:
        answer = f"{_short(one.answer)} -> {answer}"
    asked = shown.prompt[-1].content if shown.prompt else ""
    return RowChange(one.line if one else None, other.line if other else None, _short(asked), answer)


def _short(text: str) -> str:
    text = " ".join(masked(text).split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
