"""Reading what suite files hold: YAML mappings and JSONL documents, with every fault told by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import Problem, UsageError
from harness.yamls import read_strict_yaml

Document = dict[str, Any]


def shown(path: Path) -> str:
    """A path as a reader wants it: relative to the current folder where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def read_yaml(path: Path, problems: list[Problem]) -> Document | None:
    """The mapping that a YAML file holds, or None and a problem."""
    try:
        found = read_strict_yaml(path.read_text(encoding="utf-8-sig"), shown(path))
    except UsageError as fault:
        problems += fault.problems
        return None
    except (OSError, UnicodeDecodeError) as fault:
        problems.append(Problem(shown(path), f"cannot be read: {fault}"))
        return None
    if not isinstance(found, dict):
        problems.append(Problem(shown(path), f"holds a {type(found).__name__}", "A mapping of keys is needed"))
        return None
    return found


def read_task_file(file: Path, config: Document, problems: list[Problem], seen: tuple[Path, ...] = ()) -> Document:
    """A task YAML with what it includes: lm-eval's `include`, where the file's own keys win."""
    merged: Document = {}
    named = config.get("include")
    for name in [named] if isinstance(named, str) else named or []:
        path = (file.parent / str(name)).resolve()
        where = f"{shown(file)}: include"
        if path in (*seen, file.resolve()):
            problems.append(Problem(where, f"{name!r} includes itself"))
            continue
        base = read_yaml(path, problems)
        if base is not None:
            merged |= read_task_file(path, base, problems, (*seen, file.resolve()))
    return {key: value for key, value in (merged | config).items() if key != "include"}


def read_jsonl(path: Path, problems: list[Problem]) -> list[Document]:
    """One JSON object a line. Lines end at \\n only: U+2028 and its like may stand inside a string."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as fault:
        problems.append(Problem(shown(path), f"cannot be read: {fault.strerror}"))
        return []
    except UnicodeDecodeError as fault:
        at = fault.object[: fault.start].count(b"\n") + 1
        problems.append(Problem(f"{shown(path)}:{at}", "is not UTF-8", next="Save the file as UTF-8"))
        return []
    faults: list[Problem] = []
    documents: list[Document] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as fault:
            faults.append(Problem(f"{shown(path)}:{number}", f"invalid JSON: {fault}"))
            continue
        if isinstance(document, dict):
            documents.append(document)
        else:
            faults.append(Problem(f"{shown(path)}:{number}", f"holds a {type(document).__name__}", "One object a line"))
    if not documents and not faults:
        faults.append(Problem(shown(path), "is empty", "At least one item is needed"))
    problems.extend(faults)
    return documents
