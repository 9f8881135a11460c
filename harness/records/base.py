"""What every record is made of: frozen, documented, versioned; and the words that records share."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

SCHEMA_VERSION = 2
SchemaVersion = Annotated[int, Field(ge=SCHEMA_VERSION - 1, le=SCHEMA_VERSION)]

Decision = Literal["promote", "reject", "inconclusive", "prompt_suffices"]
Outcome = Literal["pass", "fail", "inconclusive"]
Role = Literal["task", "regression", "safety"]
SplitName = Literal["train", "dev", "test"]
OutputType = Literal["generate", "choice"]
Claim = Literal["artifact", "recipe"]
Rule = Literal["min_delta", "at_least", "at_most", "must_not_break"]
Spending = Literal["halving", "even", "open_ended"]
Severity = Literal["error", "warning", "info"]
Action = Literal["error", "drop", "fix", "warn", "ignore"]

EXIT_CODES: dict[Decision, int] = {"promote": 0, "reject": 10, "inconclusive": 11, "prompt_suffices": 12}
"""What `harness run` returns for each decision."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the form that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 (64 hex digits) of a record or of any JSON value in canonical form."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Record(BaseModel):
    """Base of all records: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Grown(Record):
    """A record that got fields after its content was first hashed.

    Those of `later` are left out of its JSON while they hold their default, so that what was written and hashed
    before they existed is still the same content.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_unused(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        for name, default in _defaults(type(self)):
            if name in dumped and getattr(self, name) == default:
                del dumped[name]
        return dumped


@functools.cache
def _defaults(kind: type[Grown]) -> tuple[tuple[str, Any], ...]:
    """Later fields with their defaults, taken once: pydantic looks at a factory's signature each time it is asked."""
    return tuple((name, kind.model_fields[name].get_default(call_default_factory=True)) for name in sorted(kind.later))


class Message(Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: str
    """What is said, as plain text."""
