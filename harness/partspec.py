"""The base of every part of an experiment file: frozen, unknown keys refused, numbers that are numbers."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class PartSpec(BaseModel):
    """A part-spec is defined beside the behaviour that it configures; every field has a docstring."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _plain_values(cls, given: Any) -> Any:
        """YAML's `yes` is no number, and a control character would act on the terminal that shows it."""
        if not isinstance(given, dict):
            return given
        for name, value in given.items():
            field = cls.model_fields.get(name) if isinstance(name, str) else None
            if field is not None and _holds_bool(value) and not _takes_bool(field.annotation):
                raise ValueError(f"{name}: got {value!r}; a number or text, not true or false")
            if any(not (c.isprintable() or c in "\n\t") for text in _texts(value) for c in text):
                raise ValueError(f"{name}: has a control character; write plain text")
        return given


def _holds_bool(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_bool(inner) for inner in value.values())
    return isinstance(value, bool) or (isinstance(value, list) and any(_holds_bool(inner) for inner in value))


def _takes_bool(annotation: Any) -> bool:
    """Whether the field, or anything inside it, may be true or false; nested part-specs look for themselves."""
    nested = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation in (bool, Any) or nested or any(_takes_bool(inner) for inner in get_args(annotation))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in _texts(inner)]
    return []
