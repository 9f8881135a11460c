"""One row of a data file to one item, or the fault in the user's words.

A row is `{"messages": [...]}` whose last turn is the assistant's gold answer,
`{"prompt": ..., "completion": ...}`, an Alpaca or ShareGPT row, or a preference
`{"prompt": ..., "chosen": ..., "rejected": ...}`, whose two answers become the item's
choices; `id`, `cluster` and `slices` are optional, other fields of the row are left alone.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from harness.data.formats import Row, as_conversation, detect
from harness.data.lines import kind as _kind
from harness.records import Item, Message, Preference

UNNAMED = ""
"""Id of an item whose row gives none, until it is named by content."""


def parse(row: Row) -> tuple[str, Item]:
    """One JSON object to (format, item). Raises ValueError in the user's words."""
    if detect(row) == "preference":
        prompt, chosen, rejected = _preference(row)
        # By their texts, not the better one first: who finds both alike must not be right by their order.
        form, turns, choices = "preference", (*prompt, chosen), tuple(sorted((chosen.content, rejected.content)))
    else:
        (form, turns), choices = _conversation(row), None
    item = Item(
        id=_id(row),
        messages=turns[:-1],
        choices=choices,
        target=turns[-1].content,
        cluster=None if row.get("cluster") is None else _scalar(row["cluster"], "cluster", "leave it out for none"),
        slices=_slices(row.get("slices")),
    )
    return form, item


def parse_preference(row: Row) -> Preference:
    """A preference row, or one of a completion with a label (KTO). Raises ValueError in the user's words."""
    form = detect(row)
    if form == "preference":
        prompt, chosen, rejected = _preference(row)
        return Preference(id=_id(row), messages=prompt, chosen=chosen.content, rejected=rejected.content)
    if form == "kto":
        turns = _checked(_pair(row.get("prompt_messages") or row["prompt"], row["completion"]))
        good, said = row["label"], turns[-1].content
        return Preference(
            id=_id(row), messages=turns[:-1], chosen=said if good else None, rejected=None if good else said
        )
    got = f"a {form} row" if form else f"the fields {', '.join(sorted(row)) or 'nothing'}"
    raise ValueError(f"got {got}; a row needs prompt, chosen and rejected, or prompt, completion and a label")


def _id(row: Row) -> str:
    return UNNAMED if row.get("id") is None else _scalar(row["id"], "id", "leave it out to have one made")


def _preference(row: Row) -> tuple[tuple[Message, ...], Message, Message]:
    """(prompt, chosen, rejected) of a preference row."""
    lacking = [name for name in ("chosen", "rejected") if row.get(name) is None]
    if lacking:
        raise ValueError(f"a preference row without {' and '.join(lacking)}")
    if row.get("prompt_messages") is None and row.get("prompt") is None:
        sides = [_checked(_turns(row[name], name)) for name in ("chosen", "rejected")]
    else:
        given = row["prompt"] if row.get("prompt_messages") is None else row["prompt_messages"]
        sides = [_checked(_pair(given, row[name], name)) for name in ("chosen", "rejected")]
    prompt, chosen, rejected = sides[0][:-1], sides[0][-1], sides[1][-1]
    if prompt != sides[1][:-1] or prompt[-1].role == "assistant":
        raise ValueError("chosen and rejected must be one turn each after the same turns, the last of them the user's")
    if chosen.content == rejected.content:
        raise ValueError("chosen and rejected are the same; nothing can be learned or judged by them")
    return prompt, chosen, rejected


def _conversation(row: Row) -> tuple[str, tuple[Message, ...]]:
    form = detect(row)
    if form in ("messages", "sharegpt", "alpaca"):
        turns = _turns(as_conversation(row, form)["messages"], "messages")
    elif form == "prompt/completion":
        turns = _pair(row["prompt"], row["completion"])
    else:
        got = f"a {form} row" if form else f"the fields {', '.join(sorted(row)) or 'nothing'}"
        hints = {
            "kto": "; rows found good or bad are learned from by train.preference.pairs",
            None: "; data.columns maps other names: {prompt: ..., completion: ...}",
        }
        raise ValueError(f"got {got}; a row needs `messages`, or `prompt` and `completion`{hints.get(form, '')}")
    return form, _checked(turns)


def _checked(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    if not turns or turns[-1].role != "assistant" or all(turn.role == "system" for turn in turns[:-1]):
        raise ValueError("the last turn must be the assistant's gold answer, after at least one turn of the user")
    if not turns[-1].content.strip():
        raise ValueError("the gold answer is empty")
    return turns


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


def _pair(prompt: Any, completion: Any, name: str = "completion") -> tuple[Message, ...]:
    return _side(prompt, "prompt", "user") + _side(completion, name, "assistant")


def _side(given: Any, where: str, role: Literal["user", "assistant"]) -> tuple[Message, ...]:
    """A prompt or an answer: text, or a list of turns."""
    if isinstance(given, list):
        return _turns(given, where)
    if not isinstance(given, str):
        raise ValueError(f"{where}: got {_kind(given)}; text or a list of turns")
    return (Message(role=role, content=given),)


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
