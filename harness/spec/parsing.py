"""YAML to a spec, with the policy file that it names or that a team lays over it; every fault in the project's form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import Problem, SpecError, UsageError, did_you_mean
from harness.gates import GateSpec, PolicySpec
from harness.spec.model import ExperimentSpec
from harness.yamls import read_strict_yaml

M = TypeVar("M", bound=BaseModel)

RENAMED = {
    "blocking": "Write tier: advisory for a gate that only informs; the others are blocking",
    "confidence": "The error of all gates together is policy.alpha",
}
"""Keys of earlier versions, and what to write instead."""


def parse(path: Path, policy: Path | None = None) -> ExperimentSpec:
    """Read the experiment YAML and its policy, without data, suites or model.

    policy: a policy file that takes the place of the spec's own.
    Raises SpecError with every problem in them.
    """
    hint = "Give the path of an experiment YAML, or make one with `harness init DIR`"
    loaded = _mapping(path, "a mapping with name, model, data, ...", hint)
    named = loaded.get("policy")
    if policy is not None:
        loaded["policy"] = read_policy(policy, path.parent)
    elif named is None:
        loaded.pop("policy", None)  # `policy:` with nothing under it
    elif isinstance(named, str):
        loaded["policy"] = read_policy(path.parent / named, path.parent)
    return _validated(ExperimentSpec, loaded, path.name)


def read_policy(path: Path, near: Path) -> PolicySpec:
    """Read a policy file. Files that its gates name lie beside it; they are given relative to `near`.

    Raises SpecError with every problem in it.
    """
    hint = "Name a policy YAML, relative to the experiment file"
    policy = _validated(PolicySpec, _mapping(path, "a mapping with alpha, looks, gates, ...", hint), path.name)

    def moved(gate: GateSpec) -> GateSpec:
        if gate.must_not_break is None:
            return gate
        there = os.path.relpath(path.parent / gate.must_not_break, near)
        return gate.model_copy(update={"must_not_break": Path(there).as_posix()})

    return policy.model_copy(update={"gates": tuple(map(moved, policy.gates))})


def _mapping(path: Path, wanted: str, hint: str) -> dict[str, Any]:
    try:
        loaded = read_strict_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as fault:
        raise SpecError(Problem(str(path), "no such file", next=hint)) from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise SpecError(Problem(str(path), f"cannot read: {fault}", "a YAML file")) from fault
    except UsageError as fault:
        raise SpecError(fault.problems) from fault
    if not isinstance(loaded, dict):
        raise SpecError(Problem(str(path), f"got a {type(loaded).__name__}", wanted))
    return loaded


def _validated(kind: type[M], loaded: Mapping[str, Any], file: str) -> M:
    try:
        return kind.model_validate(loaded)
    except ValidationError as fault:
        raise SpecError([_told(kind, error, file) for error in fault.errors()]) from fault


def _told(kind: type[BaseModel], error: Any, file: str) -> Problem:
    """One pydantic error in the project's own form."""
    loc = error["loc"]
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    if error["type"] == "extra_forbidden" and loc[-1] in RENAMED:
        return Problem(f"{file}: {at}", f"{loc[-1]!r} is no longer a key", next=RENAMED[loc[-1]])
    if error["type"] == "extra_forbidden":
        return Problem(
            f"{file}: {at}", f"unknown key {loc[-1]!r}", did_you_mean(str(loc[-1]), _keys_at(kind, loc[:-1]))
        )
    if error["type"] == "missing":
        return Problem(f"{file}: {at}", "missing", f"Keys here: {', '.join(_keys_at(kind, loc[:-1]))}")
    message = error["msg"].removeprefix("Value error, ")
    got = "" if error["type"] == "value_error" else f", got {_short(error['input'])}"
    return Problem(f"{file}: {at}" if at else file, message[:1].lower() + message[1:] + got)


def _short(value: Any) -> str:
    """What was got, in a line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _keys_at(kind: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """The keys that the part-spec at this place knows."""
    model: Any = kind
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [a for a in getattr(annotation, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = inner[0] if inner else annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
