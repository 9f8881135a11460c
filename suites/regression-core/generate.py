"""Writes the JSONL files of the regression-core suite. Run it from anywhere; no arguments.

What is asked stands in `source/*.txt`, one question a line, the right answer first; what is computed (sums, word
lists, programs, long texts) is drawn in `drawn.py`. The same seeds give the same bytes on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import drawn  # noqa: E402
from dealing import Kind, Row, cells, jsonl, levels, numbered, passages, placed, positions, write  # noqa: E402


def choices(kind: str) -> Kind:
    """opening | right | wrong ...; the opening is the question."""

    def rows(source: Path) -> Iterator[Row]:
        for level, lines in levels(source / f"{kind}.txt").items():
            dealt = positions(len(cells(lines[0])) - 1, kind, level)
            for line, at in zip(lines, dealt, strict=False):
                opening, right, *wrong = cells(line)
                yield {"level": level, "question": opening, **placed(right, wrong, at, kind, opening)}

    return rows


def commonsense(source: Path) -> Iterator[Row]:
    """Easy lines are choices; the others are twins, two openings with the same two endings, in one cluster."""
    dealt = positions(2, "commonsense")
    for level, lines in levels(source / "commonsense.txt").items():
        for number, (line, at) in enumerate(zip(lines, dealt, strict=False)):
            first, second, *rest = cells(line)
            if not rest[1:]:
                yield {"level": level, "question": first, **placed(second, rest, at, "commonsense")}
                continue
            for opening, place, ending in ((first, at, rest[0]), (second, 1 - at, rest[1])):
                other = rest[1] if ending is rest[0] else rest[0]
                row = placed(ending, [other], place, "commonsense")
                yield {"level": level, "question": opening, **row, "cluster": f"twins-{level}-{number:02d}"}


def grammar(source: Path) -> Iterator[Row]:
    """right sentence | wrong sentence; there is no question."""
    for level, lines in levels(source / "grammar.txt").items():
        for line, at in zip(lines, positions(2, "grammar", level), strict=False):
            right, wrong = cells(line)
            yield {"level": level, **placed(right, [wrong], at, "grammar")}


def reading(source: Path) -> Iterator[Row]:
    """Questions under a passage share its cluster."""
    for level, lines in levels(source / "reading.txt").items():
        dealt = positions(3, "reading", level)
        for number, (passage, questions) in enumerate(passages(lines)):
            for (opening, right, *wrong), at in zip(questions, dealt, strict=False):
                row = placed(right, wrong, at, "reading", passage, opening)
                cluster = f"passage-{level}-{number:02d}"
                yield {"level": level, "passage": passage, "question": opening, **row, "cluster": cluster}


KINDS: dict[str, Kind] = {
    "facts": choices("facts"),
    "reading": reading,
    "commonsense": commonsense,
    "grammar": grammar,
    "arithmetic": drawn.arithmetic,
    "instructions": drawn.instructions,
    "transform": drawn.transform,
    "code": choices("code"),
    "output": drawn.output,
    "retrieval": drawn.retrieval,
}


def files() -> dict[str, str]:
    """File name to content; a test holds the committed files against it."""
    return {f"{kind}.jsonl": jsonl(numbered(kind, rows(HERE / "source"))) for kind, rows in KINDS.items()}


if __name__ == "__main__":
    write(HERE, files())
