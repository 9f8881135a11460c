"""What the trials of one cell came to, and how sure that is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True)
class Share:
    """A share of trials with its 95 % interval (Clopper and Pearson 1934, by scipy)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Result:
    """Counts and measurements of one cell."""

    trials: int
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many trials had which outcome; one that never came is not in it."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Numbers that are no counts."""

    def share(self, outcome: str) -> Share:
        """Share of trials with this outcome."""
        found = stats.binomtest(self.counts.get(outcome, 0), self.trials)
        ends = found.proportion_ci(method="exact")
        return Share(found.statistic, float(ends.low), float(ends.high))


Results = dict[str, Result]
"""By name of the cell."""


class Cell(Protocol):
    """One row of simulation: a name that fixes its seed, and trials."""

    @property
    def scenario(self) -> str:
        """What it is a part of; names it on the command line."""
        ...

    @property
    def name(self) -> str:
        """Unique over all scenarios."""
        ...

    @property
    def cost(self) -> float:
        """Seconds for 2,000 trials, roughly; the longest begin first."""
        ...

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        """Simulate."""
        ...


def simulate(cell: Cell, trials: int) -> Result:
    """A cell's result; the same whenever and beside whatever it is run."""
    seed = int.from_bytes(hashlib.sha256(cell.name.encode()).digest()[:8])
    return cell.run(trials, np.random.default_rng(seed))


def save(results: Results, file: Path) -> None:
    """One line a cell, sorted, so that a rerun shows in a diff what it changed."""
    fields = {
        name: {"trials": r.trials, "counts": dict(r.counts), "values": dict(r.values)} for name, r in results.items()
    }
    lines = [f"{json.dumps(name)}: {json.dumps(fields[name])}" for name in sorted(fields)]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def load(file: Path) -> Results:
    """What `save` wrote; nothing where there is no file."""
    if not file.exists():
        return {}
    return {name: Result(**fields) for name, fields in json.loads(file.read_text()).items()}
