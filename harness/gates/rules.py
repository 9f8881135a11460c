"""A gate as it stands in the experiment file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.partspec import PartSpec


class GateSpec(PartSpec):
    """One signed gate, as it stands in the experiment file."""

    suite: str
    """Suite name; `task` for the experiment's own task."""
    metric: str | None = None
    """Metric to judge; default: each task's own first metric."""
    task: str = "*"
    """One task of the suite; `*` for all its items."""
    against: str = "base"
    """Whom the candidate must hold against: `base` or `best_prompt`."""
    min_delta: Annotated[float, Field(ge=-1, le=1)]
    """The margin, in the metric's unit. 0.05: must gain five points; -0.01: may not lose more than one."""
    blocking: bool = True
    """Blocking gates decide; the others only inform."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Two-sided confidence of the interval; a pass errs with half of what is left."""
    max_unscored: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Largest share of items without a score at which the gate still decides."""
