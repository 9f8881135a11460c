"""A gate as it stands in the experiment file or in a team's policy."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from harness.partspec import PartSpec
from harness.records import Rule

Tier = Literal["blocking", "advisory"]


class GateSpec(PartSpec):
    """One rule: a signed margin against a reference, a limit for the candidate alone, or items that must stay right."""

    suite: str = "task"
    """Suite name; `task` for the experiment's own task."""
    metric: str | None = None
    """Metric or measure to judge, e.g. `exact_match`, `latency_p95_s`; default: each task's own first metric."""
    task: str = "*"
    """One task of the suite; `*` for all its items."""
    slice: str | None = None
    """`name=value`: only items with this property."""
    worst_slice: str | None = None
    """Name of a property: the rule must hold on every value of it."""
    against: str = "base"
    """Whom the candidate is compared with: `base` (or `raw`, the raw prompt on the base model), `best_prompt`, or a
    contestant of `prompt.contestants`: few_shot, cot, rag, majority."""
    min_delta: float | None = None
    """Signed margin, in the metric's unit. 0.05: must gain five points; -0.01: may not lose more than one."""
    relative: bool = False
    """`min_delta` is a share of the reference's score: -0.02 may not lose more than 2 % of it."""
    at_least: float | None = None
    """Lower limit of the candidate's own value, e.g. 0.9."""
    at_most: float | None = None
    """Upper limit of the candidate's own value, e.g. 2.0 for latency_p95_s."""
    must_not_break: str | None = None
    """A file of rows like the task's: every one of them must be answered rightly."""
    tier: Tier = "blocking"
    """Blocking gates decide; advisory ones only inform."""
    max_unscored: Annotated[float, Field(ge=0, le=1)] | None = None
    """Largest share of items without a score at which the gate still decides; default: the policy's."""
    hoped: Annotated[float, Field(ge=-1, le=1)] | None = None
    """True difference that is hoped for: what `harness check` forecasts the chance to pass at."""
    discordance: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of items on which just one side is right, for that forecast; default: measured, else assumed."""

    @field_validator("against")
    @classmethod
    def _one_name(cls, name: str) -> str:
        return "base" if name == "raw" else name

    @field_validator("slice")
    @classmethod
    def _pair(cls, text: str | None) -> str | None:
        if text is not None and not all(part.strip() for part in text.partition("=")):
            raise ValueError(f"got {text!r}; name=value, e.g. language=de")
        return text

    @field_validator("worst_slice", "must_not_break")
    @classmethod
    def _not_empty(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("got an empty text; leave it out")
        return text

    @field_validator("must_not_break")
    @classmethod
    def _plain_path(cls, file: str | None) -> str | None:
        return None if file is None else PurePosixPath(file).as_posix()

    @model_validator(mode="after")
    def _one_rule(self) -> GateSpec:
        given = [name for name in ("min_delta", "at_least", "at_most", "must_not_break") if self._has(name)]
        if len(given) != 1:
            got = " and ".join(given) if given else "none of them"
            raise ValueError(f"a gate has one rule: min_delta, at_least, at_most or must_not_break; got {got}")
        if self.slice is not None and self.worst_slice is not None:
            raise ValueError("slice and worst_slice together; give one, or two gates")
        if given[0] != "min_delta":
            lost = [name for name in ("relative", "hoped", "discordance") if self._has(name)]
            lost += ["against"] if "against" in self.model_fields_set and self.against != "base" else []
            lost += ["worst_slice"] if self.worst_slice is not None else []
            lost += [n for n in ("slice", "metric", "task", "suite") if given == ["must_not_break"] and self._given(n)]
            if lost:
                raise ValueError(f"{', '.join(lost)} has no meaning beside {given[0]}; leave it out")
        if self.relative and not -1 < (self.min_delta or 0) <= 10:
            raise ValueError(f"a relative min_delta of {self.min_delta}: a share of the reference's score above -1")
        return self

    def _has(self, name: str) -> bool:
        value = getattr(self, name)
        return value is not None and value is not False  # 0.0 equals False, and is a margin

    def _given(self, name: str) -> bool:
        return name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default

    @property
    def rule(self) -> Rule:
        """Which rule it is."""
        if self.min_delta is not None:
            return "min_delta"
        if self.must_not_break is not None:
            return "must_not_break"
        return "at_least" if self.at_least is not None else "at_most"

    @property
    def blocking(self) -> bool:
        """Whether it decides."""
        return self.tier == "blocking"

    @property
    def margin(self) -> float:
        """What the difference is held against (0 for a relative margin: the reference is scaled), or the own value."""
        if self.relative:
            return 0.0
        return next(v for v in (self.min_delta, self.at_least, self.at_most, 1.0) if v is not None)

    @property
    def name(self) -> str:
        """Short name for families and messages, e.g. `task exact_match vs best_prompt`."""
        if self.must_not_break is not None:
            return f"must not break {self.must_not_break}"
        part = "" if self.task == "*" else f"/{self.task}"
        cut = self.slice or (f"worst {self.worst_slice}" if self.worst_slice else "")
        measured = " ".join(filter(None, (self.metric, f"[{cut}]" if cut else "")))
        end = f"vs {self.against}" if self.rule == "min_delta" else self.rule.replace("_", " ") + f" {self.margin:g}"
        return " ".join(filter(None, (f"{self.suite}{part}", measured, end)))
