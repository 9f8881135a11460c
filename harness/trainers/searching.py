"""Which fields of `train` a sweep may change and to what; a spec with them changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from harness.errors import did_you_mean

if TYPE_CHECKING:
    from harness.trainers.spec import TrainSpec

RANGES: Final = ("log", "uniform", "int")
"""Forms of a range; a list names its values one by one."""

FIXED: Final = frozenset({
    "seeds", "sweep", "select", "save_steps", "report_to", "instruction", "teacher", "feedback", "start", "adapter",
    "command", "managed", "args", "peft_args",
})  # fmt: skip
"""Fields that a sweep leaves as they are: they decide what is learned from, what trials are compared by, or nothing."""

FILES: Final = frozenset({"replay.file", "preference.pairs"})
"""Likewise, inside others."""


def trades(spec: TrainSpec) -> bool:
    """Whether a sweep tries several ways against forgetting: what each forgot is told beside its score."""
    return spec.sweep is not None and any(name.startswith("replay.") for name in spec.sweep.fields)


def changed(spec: TrainSpec, fields: Mapping[str, Any]) -> TrainSpec:
    """The spec without its sweep, these fields (dotted for nested ones) changed. Raises pydantic's ValidationError."""
    told = spec.model_dump(exclude={"sweep"})
    for name, value in fields.items():
        *parts, last = name.split(".")
        at = told
        for part in parts:
            at = at[part]
        at[last] = value
    return type(spec).model_validate(told)


def values(form: Any) -> list[Any]:
    """The values of a list, or both ends of a range."""
    return list(form) if isinstance(form, list) else list(next(iter(form.values())))


def problems(spec: TrainSpec) -> Iterator[str]:
    """What is wrong with a spec's sweep: fields that it cannot change, values that they cannot have."""
    if spec.sweep is None:
        return
    if spec.select.by == "last":
        yield "sweep: chooses by dev, and select.by is last; leave that out"
    told = spec.model_dump()
    known = sorted(_names(told))
    for name, form in spec.sweep.fields.items():
        fault = _form_fault(form)
        if name not in known:
            own = "is one that a sweep leaves as it is" if _fixed(name) else "no such field of train, as it is set"
            yield f"sweep.{name}: {own}. {did_you_mean(name, known)}"
        elif fault:
            yield f"sweep.{name}: {fault}"
        else:
            yield from _value_faults(spec, name, form)


def _value_faults(spec: TrainSpec, name: str, form: Any) -> Iterator[str]:
    for value in values(form):
        try:
            changed(spec, {name: value})
        except ValidationError as fault:
            told = fault.errors()[0]
            if not told["loc"] or name.startswith(str(told["loc"][0])):  # else it hangs on another field of the sweep
                yield f"sweep.{name}: {value!r}: {told['msg'].removeprefix('Value error, ')}"


def _form_fault(form: Any) -> str | None:
    if isinstance(form, list):
        return None if form else "names no value"
    if not isinstance(form, dict) or len(form) != 1 or next(iter(form)) not in RANGES:
        return f"{form!r} is no list of values and no {{log: [low, high]}}, {{uniform: ...}} or {{int: ...}}"
    kind, ends = next(iter(form.items()))
    whole = int if kind == "int" else (int, float)
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(end, whole) for end in ends):
        return f"{kind} wants two numbers, [low, high]"
    low, high = ends
    return None if low < high and (kind != "log" or low > 0) else f"{kind} wants low < high, above 0 for log"


def _fixed(name: str) -> bool:
    return name.partition(".")[0] in FIXED or name in FILES


def _names(told: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in told.items():
        name = before + key
        if _fixed(name):
            continue
        if isinstance(value, dict):
            yield from _names(value, f"{name}.")
        else:
            yield name


def possible(spec: TrainSpec, name: str) -> list[Any]:
    """What a field may come to be: its value, and those that the sweep may give it."""
    form = None if spec.sweep is None else spec.sweep.fields.get(name)
    return [getattr(spec, name), *([] if form is None else values(form))]
