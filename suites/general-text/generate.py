"""Writes `passages.jsonl` and `prompts.jsonl` from the texts beside this file."""

from __future__ import annotations

import json
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK = re.compile(r"^=== (\S+) \| (.+)$", re.MULTILINE)


def documents(name: str) -> list[dict[str, str]]:
    """The texts of one source file, each after a line `=== id | kind`."""
    parts = MARK.split((HERE / f"{name}.txt").read_text(encoding="utf-8"))
    assert not parts[0].strip(), parts[0]
    return [
        {"id": id, "kind": kind, "text": text.strip("\n")}
        for id, kind, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    ]


def files() -> dict[str, str]:
    """File name to content."""
    return {
        f"{name}.jsonl": "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents(name))
        for name in ("passages", "prompts")
    }


if __name__ == "__main__":
    for file, content in files().items():
        (HERE / file).write_text(content, encoding="utf-8")
