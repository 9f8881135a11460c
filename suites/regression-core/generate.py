"""Writes the JSONL files of the regression-core suite. Run it from anywhere; no arguments.

What is asked stands in `source/*.txt`, one question a line, the right answer first.
This file deals the right answers evenly over the positions and, for arithmetic,
draws the numbers. The same seed gives the same bytes on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SEED = 7
ARITHMETIC_ITEMS = 36

Row = dict[str, Any]


def lines(kind: str) -> Iterator[str]:
    """The lines of one source file that are not comments."""
    for line in (HERE / "source" / f"{kind}.txt").read_text(encoding="utf-8").split("\n"):
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def cells(line: str) -> list[str]:
    """The cells of a line; \\n in a cell is a line break."""
    return [cell.strip().replace("\\n", "\n") for cell in line.split(" | ")]


def positions(choices: int, items: int, rng: random.Random) -> list[int]:
    """Where the right answer goes, item by item: every position equally often, shuffled."""
    dealt = [i % choices for i in range(items)]
    rng.shuffle(dealt)
    return dealt


def placed(right: str, wrong: list[str], at: int, rng: random.Random) -> Row:
    """Choices in random order, the right one at position `at`."""
    others = rng.sample(wrong, len(wrong))
    return {"choices": [*others[:at], right, *others[at:]], "answer": at}


def choice_rows(kind: str, rng: random.Random) -> Iterator[Row]:
    """opening | right | wrong ...; the opening is the question."""
    table = [cells(line) for line in lines(kind)]
    dealt = positions(len(table[0]) - 1, len(table), rng)
    for (opening, right, *wrong), at in zip(table, dealt, strict=True):
        yield {"question": opening, **placed(right, wrong, at, rng)}


def grammar_rows(kind: str, rng: random.Random) -> Iterator[Row]:
    """right sentence | wrong sentence; there is no question."""
    table = [cells(line) for line in lines(kind)]
    for (right, wrong), at in zip(table, positions(2, len(table), rng), strict=True):
        yield placed(right, [wrong], at, rng)


def reading_rows(kind: str, rng: random.Random) -> Iterator[Row]:
    """Questions under a passage share its cluster."""
    source = list(lines(kind))
    dealt = iter(positions(3, sum(not line.startswith(">") for line in source), rng))
    passage, number = "", 0
    for line in source:
        if line.startswith(">"):
            passage, number = line.removeprefix(">").strip(), number + 1
            continue
        opening, right, *wrong = cells(line)
        row = placed(right, wrong, next(dealt), rng)
        yield {"passage": passage, "question": opening, **row, "cluster": f"passage-{number:02d}"}


def transform_rows(kind: str, rng: random.Random) -> Iterator[Row]:
    """An instruction, three worked examples, then the question."""
    head: list[str] = []
    for line in lines(kind):
        if line.startswith(">"):
            head = [line.removeprefix(">").strip()]
        elif line.startswith("="):
            head.append(line.removeprefix("=").strip())
        else:
            question, answer = cells(line)
            yield {"examples": "\n".join(head), "question": question, "answer": answer}


def arithmetic_rows(kind: str, rng: random.Random) -> Iterator[Row]:
    """Sums and differences with results from 1 to 20; no question twice, none among the worked examples."""
    seen = {"2 + 3", "9 - 4", "6 + 1"}
    while len(seen) < ARITHMETIC_ITEMS + 3:
        a, b = rng.randrange(1, 11), rng.randrange(1, 11)
        adds = len(seen) % 2 == 0
        question = f"{a} + {b}" if adds else f"{a + b} - {b}"
        if question not in seen:
            seen.add(question)
            yield {"question": question, "answer": str(a + b if adds else a)}


KINDS: dict[str, Callable[[str, random.Random], Iterator[Row]]] = {
    "facts": choice_rows,
    "reading": reading_rows,
    "commonsense": choice_rows,
    "grammar": grammar_rows,
    "arithmetic": arithmetic_rows,
    "transform": transform_rows,
    "code": choice_rows,
}


def rows(kind: str) -> list[Row]:
    """The rows of one kind, in file order; each kind draws from its own seed."""
    found = KINDS[kind](kind, random.Random(f"{SEED}-{kind}"))
    return [{"id": f"{kind}-{number:03d}", **row} for number, row in enumerate(found)]


def files() -> dict[str, str]:
    """File name to content; a test holds the committed files against it."""
    return {f"{kind}.jsonl": "".join(json.dumps(row) + "\n" for row in rows(kind)) for kind in KINDS}


if __name__ == "__main__":
    for file, content in files().items():
        (HERE / file).write_text(content, encoding="utf-8", newline="\n")
