"""What a metric's score is where there is none: a reason, never a zero; and targets that are JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


class Unscored(Exception):
    """No score can be told, and why. Not an error of the program: the sample is recorded as unscored."""

    def __init__(self, why: str, *, fault: bool = False) -> None:
        super().__init__(why)
        self.fault = fault
        """Whether it is a fault that may pass (a judge that does not answer), so that it is worth asking again."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A score, or why there is none."""

    value: float | None
    why: str | None = None
    """Why there is no score; None where there is one."""
    fault: bool = False
    """See Unscored."""


@lru_cache(maxsize=4096)  # the same targets are read for every answer of every candidate
def _read(target: str) -> Any:
    try:
        return json.loads(target)
    except (ValueError, RecursionError):
        return None


def target_object(target: str, *needed: str) -> dict[str, Any]:
    """A target that is a JSON object with the fields needed; Unscored otherwise."""
    found = _read(target)
    missing = [key for key in needed if not isinstance(found, dict) or key not in found]
    if not isinstance(found, dict) or missing:
        wanted = f" with {', '.join(needed)}" if needed else ""
        raise Unscored(f"the target is no JSON object{wanted}")
    return dict(found)


def field_of(name: str) -> Any:
    """A `Metric.gold` that reads the right answer from a field of a JSON target."""

    def gold(target: str) -> str | None:
        found = _read(target)
        value = found.get(name) if isinstance(found, dict) else None
        return value if isinstance(value, str) else None

    return gold


def no_gold(target: str) -> str | None:
    """A `Metric.gold` for targets that tell no right answer."""
    return None


def fenced(answer: str) -> str:
    """What stands in the answer's first Markdown code fence, else the answer as it is."""
    _, fence, rest = answer.partition("```")
    if not fence:
        return answer
    _, newline, code = rest.partition("\n")
    return code.partition("```")[0] if newline else answer
