"""One row of a data file to one item, or the fault in the user's words.

A row is `{"messages": [...]}` whose last turn is the assistant's gold answer,
`{"prompt": ..., "completion": ...}`, or an Alpaca or ShareGPT row; `id`, `cluster` and
`slices` are optional, other fields of the row are left alone.
"""

from __future__ import annotations

import json
from typing import Any

from harness.data.formats import Row, as_conversation, detect
from harness.data.lines import kind as _kind
from harness.records import Item, Message

UNNAMED = ""
"""Id of an item whose row gives none, until it is named by content."""


def parse(row: Row) -> tuple[str, Item]:
    """One JSON object to (format, item). Raises ValueError in the user's words."""
    form, turns = _conversation(row)
    item = Item(
        id=UNNAMED if row.get("id") is None else _scalar(row["id"], "id", "leave it out to have one made"),
        messages=turns[:-1],
        target=turns[-1].content,
        cluster=None if row.get("cluster") is None else _scalar(row["cluster"], "cluster", "leave it out for none"),
        slices=_slices(row.get("slices")),
    )
    return form, item


def _conversation(row: Row) -> tuple[str, tuple[Message, ...]]:
    form = detect(row)
    if form in ("messages", "sharegpt", "alpaca"):
        turns = _turns(as_conversation(row, form)["messages"], "messages")
    elif form == "prompt/completion":
        turns = _pair(row["prompt"], row["completion"])
    else:
        got = f"a {form} row" if form else f"the fields {', '.join(sorted(row)) or 'nothing'}"
        raise ValueError(f"got {got}; a row needs `messages`, or `prompt` and `completion`")
    if not turns or turns[-1].role != "assistant" or all(turn.role == "system" for turn in turns[:-1]):
        raise ValueError("the last turn must be the assistant's gold answer, after at least one turn of the user")
    if not turns[-1].content.strip():
        raise ValueError("the gold answer is empty")
    return form, turns


def _turns(messages: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(messages, list):
        raise ValueError(f"{where}: got {_kind(messages)}; a list of turns")
    return tuple(_turn(turn, f"{where}[{index}]") for index, turn in enumerate(messages))


def _turn(turn: Any, where: str) -> Message:
    """One turn. What cannot be said to a model as text is refused, never left out silently."""
    if not isinstance(turn, dict):
        raise ValueError(f"{where}: got {_kind(turn)}; an object with role and content")
    role, content = turn.get("role"), turn.get("content")
    if role not in ("system", "user", "assistant"):
        raise ValueError(f"{where}.role: got {role!r}; system, user or assistant")
    more = sorted(key for key, value in turn.items() if key not in ("role", "content") and value is not None)
    if more:
        raise ValueError(
            f"{where}: got the fields {', '.join(more)} beside role and content, which are not read; "
            "write what they say into content, or leave them out"
        )
    if not isinstance(content, str):
        raise ValueError(f"{where}.content: got {_kind(content)}; text (join the parts of a list into one string)")
    return Message(role=role, content=content)


def _pair(prompt: Any, completion: Any) -> tuple[Message, ...]:
    if isinstance(prompt, list) and isinstance(completion, list):
        return _turns(prompt, "prompt") + _turns(completion, "completion")
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise ValueError("prompt and completion must both be text, or both be lists of turns")
    return Message(role="user", content=prompt), Message(role="assistant", content=completion)


def _slices(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    hint = "leave it out where it has no value"
    if not isinstance(given, dict):
        raise ValueError(f'slices: got {_kind(given)}; an object of names and values, e.g. {{"language": "de"}}')
    return {name: _scalar(value, f"slices.{name}", hint) for name, value in given.items()}


def _scalar(value: Any, where: str, hint: str) -> str:
    """Text or a number as text."""
    if not isinstance(value, (str, int, float)) or value == "":
        got = "an empty text" if value == "" else _kind(value)
        raise ValueError(f"{where}: got {got}; a text or a number, or {hint}")
    return value if isinstance(value, str) else json.dumps(value)
