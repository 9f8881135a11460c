"""What the generators of the bundled suites share: reading source files, dealing right answers over the positions.

A source file is text: `[name]` opens a level, `#` starts a comment, cells are parted by ` | `, and \\n in
a cell is a line break. Every draw is seeded by names, never by what was drawn before in another place, and
answers are dealt in small blocks; so a line added at the end of a level changes no earlier item.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Kind = Callable[[Path], Iterable[Row]]
"""Rows of one kind, given the folder of sources; every row has a `level`."""


def levels(file: Path) -> dict[str, list[str]]:
    """Level to its lines."""
    found: dict[str, list[str]] = {}
    level = ""
    for line in file.read_text(encoding="utf-8").split("\n"):
        if line.startswith("[") and line.endswith("]"):
            level = line[1:-1]
        elif line.strip() and not line.startswith("#"):
            found.setdefault(level, []).append(line.strip())
    return found


def cells(line: str) -> list[str]:
    """The cells of a line."""
    return [cell.strip().replace("\\n", "\n") for cell in line.split(" | ")]


def positions(choices: int, *seed: str) -> Iterator[int]:
    """Where the right answers go, without end: each position once in every block of as many items as choices."""
    rng = random.Random("-".join(seed))
    while True:
        yield from rng.sample(range(choices), choices)


def placed(right: str, wrong: list[str], at: int, *seed: str) -> Row:
    """Choices in random order, the right one at position `at`."""
    others = random.Random("-".join(seed)).sample(wrong, len(wrong))
    return {"choices": [*others[:at], right, *others[at:]], "answer": at}


def passages(lines: list[str]) -> list[tuple[str, list[list[str]]]]:
    """Each line with ">" and the cells of the lines under it."""
    found: list[tuple[str, list[list[str]]]] = []
    for line in lines:
        if line.startswith(">"):
            found.append((line.removeprefix(">").strip(), []))
        else:
            found[-1][1].append(cells(line))
    return found


def numbered(kind: str, rows: Iterable[Row]) -> list[Row]:
    """Rows with an id of kind, level and number in the level, and their level as a slice."""
    seen: Counter[str] = Counter()
    done = []
    for row in rows:
        level = row.pop("level")
        slices = {"level": level, **row.pop("slices", {})}
        done.append({"id": f"{kind}-{level}-{seen[level]:03d}", **row, "slices": slices})
        seen[level] += 1
    return done


def jsonl(rows: Iterable[Row]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder: Path, files: dict[str, str]) -> None:
    """Write the files of a suite, the same bytes on every machine."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8", newline="\n")
