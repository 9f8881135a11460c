"""A raw row to the normal form, with every fault of its form in the user's words."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from harness.data.example import SYSTEM, Example, Turn, blank
from harness.data.formats import Row, as_conversation, detect
from harness.data.lines import Fault, RawRow, kind, shown
from harness.records import canonical_json

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""Roles of the OpenAI chat format."""


class _Faulty(Exception):
    """The row cannot be brought into the normal form."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults)
        self.faults = faults


def normalise(raw: RawRow, shared_system: str = "") -> tuple[Example | None, tuple[Fault, ...]]:
    """One raw row to its normal form, or None and why not. Never raises."""
    if raw.value is None:
        return None, raw.faults
    format = detect(raw.value)
    if format is None:
        got = ", ".join(shown(name) for name in sorted(raw.value)[:8]) or "nothing"
        needed = "messages, prompt and completion, or instruction and output"
        how = "--column prompt=NAME maps another name, in a spec data.columns"
        what = f"got the fields {got}; a row needs {needed}; {how}"
        return None, (*raw.faults, Fault("unknown_format", what))
    try:
        row = as_conversation(raw.value, format, shared_system)
        made = _preference(row, raw.line) if format == "preference" else _chat(row, format, raw.line)
    except _Faulty as broken:
        return None, (*raw.faults, *broken.faults)
    return made, raw.faults


def _chat(row: Row, format: str, line: int) -> Example:
    turns = _pair(row) if format in ("prompt/completion", "kto") else _turns(row["messages"], "messages")
    faults = order_faults(turns)
    if faults:
        raise _Faulty(*faults)
    label = row.get("label") if format == "kto" else None
    return Example(line, format, turns[:-1], turns[-1].said, desirable=label, **_about(row))


def _pair(row: Row) -> tuple[Turn, ...]:
    prompt, completion = row.get("prompt_messages") or row["prompt"], row["completion"]
    return _side(prompt, "prompt", "user") + _side(completion, "completion", "assistant")


def _side(value: Any, where: str, role: str) -> tuple[Turn, ...]:
    """A prompt or an answer: text, or a list of turns."""
    if isinstance(value, list):
        return _turns(value, where)
    if not isinstance(value, str):
        raise _Faulty(Fault("wrong_type", f"{where}: got {kind(value)}; a text or a list of turns"))
    return (Turn(role, value),)


def _turns(messages: Any, where: str) -> tuple[Turn, ...]:
    if not isinstance(messages, list):
        raise _Faulty(Fault("wrong_type", f"{where}: got {kind(messages)}; a list of turns"))
    if not messages:
        raise _Faulty(Fault("missing_answer", f"{where}: no turn at all; at least a question and its answer"))
    return tuple(_turn(turn, f"{where}[{index}]") for index, turn in enumerate(messages))


def _turn(turn: Any, where: str) -> Turn:
    if not isinstance(turn, dict):
        raise _Faulty(Fault("wrong_type", f"{where}: got {kind(turn)}; an object with role and content"))
    role, content, calls = turn.get("role"), turn.get("content"), turn.get("tool_calls") or turn.get("function_call")
    if not isinstance(role, str) or role not in ROLES:
        raise _Faulty(Fault("unknown_role", f"{where}.role: got {shown(role)}; system, user, assistant or tool"))
    written = canonical_json(calls) if calls else ""
    if content is None and not written:
        raise _Faulty(Fault("null_content", f"{where}.content: got null; text"))
    return Turn("tool" if role == "function" else role, _content(content, where), written)


def _content(content: Any, where: str) -> str:
    """Text, or the texts of a list of parts; pictures and sound are not read."""
    if content is None:
        return ""
    if isinstance(content, list) and content and all(_is_text_part(part) for part in content):
        return "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise _Faulty(Fault("wrong_type", f"{where}.content: got {kind(content)}; text"))
    return content


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def order_faults(turns: tuple[Turn, ...]) -> tuple[Fault, ...]:
    """What a chat template could not render, or what leaves nothing to learn."""
    faults = []
    roles = [turn.role for turn in turns]
    spoken = [role for role in roles if role not in SYSTEM]
    if any(role in SYSTEM and set(roles[:at]) - set(SYSTEM) for at, role in enumerate(roles)):
        faults.append(Fault("bad_role_order", "a system turn after the conversation began; it must come first"))
    if spoken and spoken[0] != "user":
        faults.append(Fault("bad_role_order", f"the conversation begins with {spoken[0]}; it must begin with user"))
    twice = next((a for a, b in pairwise(turns) if a.role == b.role in ("user", "assistant")), None)
    if twice is not None and not twice.calls:
        faults.append(Fault("bad_role_order", f"two turns of {twice.role} in a row; join them or drop one"))
    orphan = any(b == "tool" and a not in ("assistant", "tool") for a, b in pairwise(["", *roles]))
    if orphan:
        faults.append(Fault("bad_role_order", "a tool answers that nobody called"))
    if roles[-1] != "assistant":
        faults.append(Fault("missing_answer", f"the last turn is {roles[-1]}'s; it must be the assistant's answer"))
    elif blank(turns[-1].said):
        faults.append(Fault("empty_answer", "the answer is empty; write it or drop the row"))
    if (
        roles[-1] == "assistant"
        and "user" in roles
        and all(blank(turn.said) for turn in turns[:-1] if turn.role not in SYSTEM)
    ):
        faults.append(Fault("empty_prompt", "nothing is asked; write the question or drop the row"))
    return tuple(faults)


# -------------------------------------------------------------------- preferences


def _preference(row: Row, line: int) -> Example:
    lacking = [name for name in ("chosen", "rejected") if name not in row]
    if "prompt" not in row and not all(isinstance(row.get(name), list) for name in ("chosen", "rejected")):
        lacking.insert(0, "prompt")
    if lacking:
        raise _Faulty(
            Fault("missing_field", f"a preference row without {' and '.join(lacking)}; add it or drop the row")
        )
    prompt, chosen, rejected = _explicit(row) if "prompt" in row else _implicit(row)
    faults = [
        Fault("empty_answer", f"{name}: the answer is empty; write it or drop the row")
        for name, turns in (("chosen", chosen), ("rejected", rejected))
        if not "".join(turn.said for turn in turns).strip()
    ]
    if all(blank(turn.said) for turn in prompt if turn.role not in SYSTEM):
        faults.append(Fault("empty_prompt", "nothing is asked; write the prompt or drop the row"))
    if faults:
        raise _Faulty(*faults)
    texts = ["\n".join(turn.said for turn in turns) for turns in (chosen, rejected)]
    return Example(line, "preference", prompt, texts[0], texts[1], scores=_scores(row), **_about(row))


def _explicit(row: Row) -> tuple[tuple[Turn, ...], tuple[Turn, ...], tuple[Turn, ...]]:
    prompt = _side(row.get("prompt_messages") or row["prompt"], "prompt", "user")
    return prompt, _side(row["chosen"], "chosen", "assistant"), _side(row["rejected"], "rejected", "assistant")


def _implicit(row: Row) -> tuple[tuple[Turn, ...], tuple[Turn, ...], tuple[Turn, ...]]:
    """The prompt is what both conversations begin with."""
    chosen, rejected = _turns(row["chosen"], "chosen"), _turns(row["rejected"], "rejected")
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    return chosen[:same], chosen[same:], rejected[same:]


def _scores(row: Row) -> tuple[float, float] | None:
    given = [row.get("score_chosen"), row.get("score_rejected")]
    if all(isinstance(score, int | float) and not isinstance(score, bool) for score in given):
        return float(given[0]), float(given[1])  # type: ignore[arg-type]
    return None


def _about(row: Row) -> dict[str, Any]:
    """id, cluster and slices, where they are what they should be."""
    slices = row.get("slices")
    return {
        "id": _name(row.get("id")) or "",
        "cluster": _name(row.get("cluster")),
        "slices": {k: s for k, v in slices.items() if (s := _name(v))} if isinstance(slices, dict) else {},
    }


def _name(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return json.dumps(value) if isinstance(value, int | float) else None
