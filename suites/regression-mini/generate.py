"""Writes regression-mini: a part of every kind and level of regression-core. Run it from anywhere; no arguments.

It reads the files of regression-core as they stand there, so run that generator first.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORE = HERE.parent / "regression-core"
sys.path[:0] = [str(HERE.parent)]

from dealing import Row, jsonl, write  # noqa: E402

TAKEN = {
    "facts": (12, 1),
    "reading": (12, 1),
    "commonsense": (12, 1),
    "grammar": (12, 1),
    "arithmetic": (9, 4),
    "instructions": (8, 1),
    "transform": (9, 4),
    "code": (12, 1),
    "output": (8, 3),
    "retrieval": (8, 1),
}
"""Items of each level, and the step by which they are taken. Whole blocks of the first ones keep the right answers
evenly placed; a step takes some of each rule or program."""
LEFT_OUT = {("retrieval", "hard")}
"""Texts that take longer than all the rest together."""


def taken(kind: str) -> list[Row]:
    """The rows of one kind."""
    by_level: defaultdict[str, list[Row]] = defaultdict(list)
    for line in (CORE / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        by_level[row["slices"]["level"]].append(row)
    count, step = TAKEN[kind]
    return [
        row
        for level, rows in by_level.items()
        if (kind, level) not in LEFT_OUT
        for row in rows[step // 2 :: step][:count]
    ]


def files() -> dict[str, str]:
    """File name to content; a test holds the committed files against it."""
    found = {f"{kind}.jsonl": jsonl(taken(kind)) for kind in TAKEN}
    for file in sorted(CORE.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        text = text.replace("regression-core", "regression-mini").replace("core-", "mini-")
        # Of a few items a constant answer gets more than none right: no chance level is stated, it is measured.
        found[file.name] = text.replace("  chance: 0.0\n", "")
    return found


if __name__ == "__main__":
    write(HERE, files())
