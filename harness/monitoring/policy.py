"""When retraining is due: the policy, and the exit code that tells a scheduler."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError, field_validator

from harness.errors import Problem, UsageError
from harness.partspec import PartSpec
from harness.records import Due, Watched
from harness.yamls import read_strict_yaml

EXITS: Final[dict[Due, int]] = {"quality": 20, "drift": 21, "age": 22}
"""What `harness monitor` returns when retraining is due; of several reasons the first of these."""
_UNITS: Final = {"h": 1 / 24, "d": 1.0, "w": 7.0}


class RetrainSpec(PartSpec):
    """When retraining is due."""

    every: str | None = None
    """Longest age of what is deployed, e.g. `90d`, `12w`; None: age alone is no reason."""
    on: tuple[Watched, ...] = ("drift", "quality")
    """Alarms that make it due: `drift`, `quality`, a list of them, or none (`[]`)."""
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Chance that an alarm is ever raised though nothing changes; half of it for each kind of alarm."""

    @field_validator("every")
    @classmethod
    def _span(cls, given: str | None) -> str | None:
        if given is not None and not re.fullmatch(r"[1-9]\d{0,4}[hdw]", given):
            raise ValueError(f"got {given!r}; a number with h, d or w, e.g. 90d")
        return given

    @field_validator("on", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return tuple(part.strip() for part in given.split("|")) if isinstance(given, str) else given

    @property
    def days(self) -> float | None:
        """`every` in days."""
        return None if self.every is None else float(self.every[:-1]) * _UNITS[self.every[-1]]


def read_policy(path: Path | None) -> RetrainSpec:
    """The policy of a YAML file, under `retrain:` or on its own; the default one without a file.

    Raises UsageError with every fault of the file.
    """
    if path is None:
        return RetrainSpec()
    try:
        given = read_strict_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as fault:
        raise UsageError(Problem(str(path), "no such file", next="Correct the path")) from fault
    except UnicodeDecodeError as fault:
        raise UsageError(Problem(str(path), "is no UTF-8 text")) from fault
    if isinstance(given, dict) and "retrain" in given:
        given = given["retrain"]
    if not isinstance(given, dict):
        raise UsageError(Problem(str(path), "holds no policy", "Keys: every, on, alpha"))
    given = {("on" if key is True else key): value for key, value in given.items()}  # YAML 1.1 reads `on` as true
    try:
        return RetrainSpec.model_validate(given)
    except ValidationError as fault:
        faults = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in fault.errors()]
        problems = [Problem(f"{path}: {at}", what, "Keys: every, on, alpha") for at, what in faults]
        raise UsageError(problems) from fault


def due(policy: RetrainSpec, alarms: Sequence[Watched], made: str | None, now: datetime.datetime) -> tuple[Due, ...]:
    """Why retraining is due. made: when what is deployed was made, ISO 8601; None where that is unknown."""
    found: list[Due] = [kind for kind in ("quality", "drift") if kind in alarms and kind in policy.on]
    if policy.days is not None and made is not None:
        at = datetime.datetime.fromisoformat(made)
        at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
        if now - at >= datetime.timedelta(days=policy.days):
            found.append("age")
    return tuple(found)


def exit_code(reasons: Sequence[Due]) -> int:
    """0 when nothing is due."""
    return next((code for reason, code in EXITS.items() if reason in reasons), 0)
