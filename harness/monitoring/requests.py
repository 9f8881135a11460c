"""One logged request, and the forms of JSON that it is read from: plain, OpenAI pairs, stored completions, batches."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.records import digest

Row = Mapping[str, Any]
Turns = tuple[tuple[str, str], ...]

TIMES = ("time", "timestamp", "created_at", "created", "ts")
ANSWERS = ("answer", "completion", "output", "response")
PROMPTS = ("prompt", "question", "input")
NO_ANSWER = "no answer"
ROLES = {"developer": "system", "function": "tool"}


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a deployed model and what came of it. None: the log does not tell."""

    where: str
    """`file:line`."""
    id: str | None
    time: float | None
    """Seconds since 1970, UTC, when it was asked."""
    turns: Turns
    """(role, text) of each turn before the answer."""
    answer: str | None
    """None when there is none: the call failed."""
    error: str | None
    """Why there is none."""
    finish: str | None
    """`stop`, `length`, ..."""
    latency_s: float | None
    tokens_in: int | None
    tokens_out: int | None
    logprob: float | None
    """Mean log-likelihood of the answer's tokens (nats)."""
    version: str | None
    """Which model or version answered."""
    label: str | None
    """The right answer, where somebody knows it."""
    score: float | None
    """How good the answer was, in [0, 1], where somebody said."""

    @property
    def question(self) -> str:
        """What the user said last; empty where the log does not hold it."""
        return next((text for role, text in reversed(self.turns) if role == "user"), "")

    @property
    def digest(self) -> str:
        """Content identity, 16 hex digits: tells a line that was seen before."""
        said = [self.id, self.time, self.turns, self.answer, self.error, self.version, self.latency_s]
        return digest(json.loads(json.dumps(said)))[:16]


def read_request(row: Row, where: str) -> Request:
    """One JSON object to a request. Raises ValueError in the user's words."""
    asked, answered, about = _parts(row)
    turns = _turns(asked)
    answer, finish, logprob = _answer(answered)
    error = _error(row, about, answer)
    if not turns and answer is None and error in (None, NO_ANSWER):
        keys = ", ".join(sorted(map(str, row))[:8]) or "none"
        raise ValueError(f"no request: keys {keys}; it needs prompt or messages, and an answer, response or error")
    usage = _mapping(answered.get("usage")) or row
    return Request(
        where=where,
        id=_text(row.get("id") or row.get("request_id") or row.get("custom_id") or answered.get("id")),
        time=_time(row, answered),
        turns=turns,
        answer=None if error else answer,
        error=error,
        finish=finish,
        latency_s=_latency(row),
        tokens_in=_count(usage, "prompt_tokens", "tokens_in", "input_tokens"),
        tokens_out=_count(usage, "completion_tokens", "tokens_out", "output_tokens"),
        logprob=logprob if logprob is not None else _number(row, "logprob"),
        version=_text(row.get("version") or answered.get("model") or asked.get("model") or row.get("model")),
        label=_label(row),
        score=_score(row),
    )


def _parts(row: Row) -> tuple[Row, Row, Row]:
    """What was asked, what was answered, and what tells of the call, whatever they are called."""
    asked, answered = _mapping(row.get("request")) or row, _mapping(row.get("response"))
    if answered is None:
        return asked, row, row
    if "body" in answered:  # OpenAI batch output: the status beside the body
        return asked, _mapping(answered["body"]) or {}, answered
    return asked, answered, answered


def _turns(asked: Row) -> Turns:
    asked = _mapping(asked.get("body")) or asked
    given = asked.get("messages", asked.get("input") if isinstance(asked.get("input"), list) else None)
    if isinstance(given, list):
        turns = []
        for turn in given:
            role = turn.get("role") if isinstance(turn, dict) else None
            if not isinstance(role, str):
                raise ValueError("messages: each turn needs role and content")
            turns.append((ROLES.get(role, role), _content(turn.get("content"))))
        if not turns:
            raise ValueError("messages: is empty")
        return tuple(turns)
    if given is not None:
        raise ValueError("messages: must be a list of turns")
    said = next((asked[key] for key in PROMPTS if asked.get(key) is not None), None)
    if said is None:
        return ()
    if not isinstance(said, str):
        raise ValueError("prompt: must be a text")
    return (("user", said),)


def _content(given: Any) -> str:
    """A turn's text; of a list of parts those that are text."""
    if isinstance(given, list):
        return "\n".join(str(part["text"]) for part in given if isinstance(part, dict) and "text" in part)
    return "" if given is None else str(given)


def _answer(answered: Row) -> tuple[str | None, str | None, float | None]:
    """Text, how it ended, and the mean log-likelihood of its tokens."""
    choices = answered.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        first = choices[0]
        message = _mapping(first.get("message")) or {}
        text = first.get("text") if "text" in first else message.get("content")
        if text is None and message.get("tool_calls"):
            text = json.dumps([call.get("function") for call in message["tool_calls"] if isinstance(call, dict)])
        return None if text is None else _content(text), _text(first.get("finish_reason")), _logprob(first)
    found = next((answered[key] for key in ANSWERS if isinstance(answered.get(key), str)), None)
    return found, _text(answered.get("finish_reason") or answered.get("finish")), None


def _logprob(choice: Row) -> float | None:
    told = _mapping(choice.get("logprobs")) or {}
    tokens = told.get("content") if isinstance(told.get("content"), list) else None
    values = [t.get("logprob") for t in tokens if isinstance(t, dict)] if tokens else told.get("token_logprobs")
    kept = [v for v in values or () if isinstance(v, int | float) and math.isfinite(v)]
    return sum(kept) / len(kept) if kept else None


def _error(row: Row, about: Row, answer: str | None) -> str | None:
    told = row.get("error") or about.get("error")
    if told:
        return str(told.get("message", told) if isinstance(told, dict) else told)[:200]
    status = next((s for s in (about.get("status_code"), row.get("status"), row.get("status_code")) if s), None)
    if isinstance(status, int) and status >= 400:
        return f"status {status}"
    return NO_ANSWER if answer is None else None


def _time(row: Row, answered: Row) -> float | None:
    given = next((part[key] for part in (row, answered) for key in TIMES if part.get(key) is not None), None)
    if given is None:
        return None
    if isinstance(given, str) and not given.replace(".", "", 1).isdigit():
        try:
            at = datetime.datetime.fromisoformat(given)
        except ValueError:
            raise ValueError(f"time: got {given[:40]!r}; ISO 8601, or seconds since 1970") from None
        return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
    value = _finite(given, "time")
    value /= 1e9 if value > 1e17 else 1e6 if value > 1e14 else 1e3 if value > 1e11 else 1  # nano-, micro-, milliseconds
    if not 0 <= value < 4102444800:
        raise ValueError(f"time: got {given!r}; ISO 8601, or seconds since 1970")
    return value


def _latency(row: Row) -> float | None:
    for key, unit in (("latency_s", 1.0), ("latency_ms", 1e-3), ("duration_ms", 1e-3), ("latency", 1.0)):
        if row.get(key) is not None:
            value = _finite(row[key], key) * unit
            if value < 0:
                raise ValueError(f"{key}: got {row[key]!r}; not below 0")
            return value
    return None


def _label(row: Row) -> str | None:
    given = next((row[key] for key in ("label", "expected", "target") if row.get(key) is not None), None)
    if given is None or isinstance(given, str):
        return given
    return json.dumps(given, ensure_ascii=False)


def _score(row: Row) -> float | None:
    given = row.get("score", row.get("feedback"))
    if given is None:
        return None
    if given in ("up", "down"):
        return float(given == "up")
    value = float(given) if isinstance(given, bool) else _finite(given, "score")
    if not 0 <= value <= 1:
        raise ValueError(f"score: got {given!r}; from 0 to 1, or up or down")
    return value


def _number(row: Row, key: str) -> float | None:
    return None if row.get(key) is None else _finite(row[key], key)


def _count(row: Row, *keys: str) -> int | None:
    given = next((row[key] for key in keys if row.get(key) is not None), None)
    return given if isinstance(given, int) and not isinstance(given, bool) and given >= 0 else None


def _finite(given: Any, key: str) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(given, bool) or not math.isfinite(value):
        raise ValueError(f"{key}: got {str(given)[:40]!r}; a number")
    return value


def _mapping(given: Any) -> Row | None:
    return given if isinstance(given, dict) else None


def _text(given: Any) -> str | None:
    return None if given is None else str(given)[:200]
