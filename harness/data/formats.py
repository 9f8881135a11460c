"""Row formats: which one a row has, and its rewriting as a conversation of turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, Any]

SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "system": "system",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
}
"""Who speaks in ShareGPT, as chat roles."""

FIELDS = (
    "messages",
    "prompt",
    "prompt_messages",
    "completion",
    "chosen",
    "rejected",
    "score_chosen",
    "score_rejected",
    "label",
    "instruction",
    "input",
    "output",
    "conversations",
    "system",
    "id",
    "cluster",
    "slices",
)
"""The fields that a mapping of columns can name."""

COLUMN_PAIRS = (
    ("question", "answer"),
    ("query", "answer"),
    ("input", "output"),
    ("instruction", "output"),
    ("text", "label"),
    ("sentence", "label"),
    ("prompt", "response"),
    ("question", "response"),
    ("text", "category"),
    ("text", "intent"),
)
"""Names of (prompt, completion) columns that a table is read by when no mapping says otherwise."""


def detect(row: Row) -> str | None:
    """The row's format by its fields, or None."""
    if "messages" in row:
        return "messages"
    if "conversations" in row:
        return "sharegpt"
    if len({"prompt", "chosen", "rejected"} & row.keys()) >= 2 or ("chosen" in row and "completion" not in row):
        return "preference"
    if "prompt" in row and "completion" in row:
        return "kto" if isinstance(row.get("label"), bool) else "prompt/completion"
    if "instruction" in row and "output" in row:
        return "alpaca"
    return None


def map_columns(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with its columns renamed as the mapping `{field: column}` says; other columns stay."""
    taken = set(columns.values())
    renamed = {name: row[column] for name, column in columns.items() if column in row}
    return {**{name: value for name, value in row.items() if name not in taken}, **renamed}


def guess_columns(names: list[str]) -> dict[str, str]:
    """A mapping for a table without one, by the usual column names; empty when the names are a format already."""
    if detect(dict.fromkeys(names)) is not None:
        return {}
    folded = {name.strip().casefold(): name for name in names}
    for prompt, completion in COLUMN_PAIRS:
        if prompt in folded and completion in folded:
            return {"prompt": folded[prompt], "completion": folded[completion]}
    return {}


def as_conversation(row: Row, format: str, shared_system: str = "") -> Row:
    """A ShareGPT or Alpaca row as a `messages` row; every other row as it is.

    An Alpaca instruction is the system message where the file's own system message says the same.
    """
    rewrite: Callable[[Row, str], Row] | None = {"sharegpt": _sharegpt, "alpaca": _alpaca}.get(format)
    return row if rewrite is None else rewrite(row, shared_system)


def _sharegpt(row: Row, _: str) -> Row:
    turns = row["conversations"]
    rest = {name: value for name, value in row.items() if name not in ("conversations", "system")}
    if not isinstance(turns, list):
        return {"messages": turns, **rest}
    messages = [_sharegpt_turn(turn) for turn in turns]
    if isinstance(row.get("system"), str) and row["system"].strip():
        messages.insert(0, {"role": "system", "content": row["system"]})
    return {"messages": messages, **rest}


def _sharegpt_turn(turn: Any) -> Any:
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    said_by = turn["from"]
    role = SHAREGPT_ROLES.get(said_by, said_by) if isinstance(said_by, str) else said_by
    return {"role": role, "content": turn.get("value")}


def _alpaca(row: Row, shared_system: str) -> Row:
    rest = {name: value for name, value in row.items() if name not in ("instruction", "input", "output", "system")}
    instruction, given = row["instruction"], row.get("input")
    system = row.get("system")
    messages: list[Row] = []
    if isinstance(system, str) and system.strip():
        messages.append({"role": "system", "content": system})
    if not isinstance(given, str) or not given.strip():
        asked: Any = instruction
    elif isinstance(instruction, str) and instruction == shared_system:
        messages.append({"role": "system", "content": instruction})
        asked = given
    else:
        asked = f"{instruction}\n\n{given}" if isinstance(instruction, str) else instruction
    messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]
    return {"messages": messages, **rest}
