"""Worlds in which the true difference between a candidate and its reference is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from harness.stats import Design

Floats = NDArray[np.float64]
Kind = Literal["0/1", "real"]

MEAN_CHANGE: Final[dict[Kind, float]] = {"0/1": 1.0, "real": 0.25}
"""Mean absolute difference of items that differ; for real scores E[share] * E[room] = 1/2 * 1/2."""
SQUARE_CHANGE: Final[dict[Kind, float]] = {"0/1": 1.0, "real": 1 / 9}
"""Mean square of them; E[share^2] * E[room^2] = 1/3 * 1/3."""


@dataclass(frozen=True, slots=True)
class World:
    """How items and answers come about. Items are independent, or clusters of items are."""

    kind: Kind
    n: int
    """Items."""
    discordance: float
    """Share of items on which the two sides differ."""
    truth: float = 0.0
    """True mean difference, candidate minus reference."""
    cluster: int = 1
    """Items a cluster; 1: none."""
    icc: float = 0.0
    """Correlation of two differences inside a cluster."""

    @property
    def scores(self) -> str:
        """What the scores are, for a table."""
        if self.cluster == 1:
            return "0/1" if self.kind == "0/1" else "real-valued"
        return f"0/1, clusters of {self.cluster}, ICC {self.icc:g}"

    @property
    def name(self) -> str:
        """Everything about it in a line."""
        return f"{self.scores} | n {self.n} | differ {self.discordance:g} | truth {self.truth:+g}"

    @property
    def lean(self) -> float:
        """Share of items gained less share of items lost."""
        return self.truth / MEAN_CHANGE[self.kind]

    @property
    def possible(self) -> bool:
        """Whether so few items can make so large a difference."""
        return abs(self.lean) <= self.discordance + 1e-12

    @property
    def design(self) -> Design:
        """What a forecast is told of it."""
        sizes = None if self.cluster == 1 else (self.cluster,) * (self.n // self.cluster)
        return Design(self.n, self.discordance, math.sqrt(SQUARE_CHANGE[self.kind]), sizes, self.icc)

    def draw(
        self, rng: np.random.Generator, candidates: int = 1, shared: float = 0.0, effects: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Scores of candidates, shape (candidates, n), and of the reference that they share, shape (n,).

        shared: correlation of two candidates in whether they differ from the reference on an item. effects: what is
        added to the true difference of each candidate, shape (candidates,).
        An item has room on one side only, up or down. A 0/1 score that differs crosses over; a real one, on the
        reference's side one of a hundred grades, gains a uniform share of what is missing or loses one of what is
        there.
        """
        gained, lost = self._shares(rng)
        differ = gained + lost
        down = rng.random(self.n) * differ < lost
        chance = differ + np.where(down, -1, 1) * (np.zeros(candidates) if effects is None else effects)[:, None]
        changed = _alike(rng, candidates, self.n, shared) < chance
        if self.kind == "0/1":
            theirs = down.astype(np.float64)
            return np.where(changed, 1 - theirs, theirs), theirs
        theirs, share = (rng.integers(100, size=self.n) + 0.5) / 100, rng.random((candidates, self.n))
        moved = np.where(down, theirs * (1 - share), theirs + share * (1 - theirs))
        return np.where(changed, moved, theirs), theirs

    def signature(self, differences: Floats) -> bytes | None:
        """What the verdict on 0/1 scores depends on: gains and losses by cluster, in any order; None for others.

        differences: shape (n,). Equal trials need not be judged twice.
        """
        if self.kind != "0/1":
            return None
        by_cluster = differences.reshape(-1, self.cluster)
        gained, lost = (by_cluster > 0).sum(axis=1), (by_cluster < 0).sum(axis=1)
        return np.sort(gained * (self.cluster + 1) + lost).tobytes()

    def _shares(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Chances of each item to be gained and to be lost, shape (n,).

        In clusters they are a Dirichlet draw, which gives any contrast of the three outcomes the wanted ICC
        (Mosimann 1962, Biometrika 49, 65-82).
        """
        mean = np.array([self.discordance + self.lean, self.discordance - self.lean, 2 - 2 * self.discordance]) / 2
        mean = np.maximum(mean, 0.0)
        if self.icc == 0:
            return np.full(self.n, mean[0]), np.full(self.n, mean[1])
        drawn = rng.gamma(mean * (1 - self.icc) / self.icc, size=(self.n // self.cluster, 3))
        shares = np.repeat(drawn / drawn.sum(axis=1, keepdims=True), self.cluster, axis=0)
        return shares[:, 0], shares[:, 1]


def _alike(rng: np.random.Generator, rows: int, n: int, shared: float) -> Floats:
    """Uniform numbers, shape (rows, n); any two rows have a correlation of `shared`, by copying a common one."""
    own = rng.random((rows, n))
    if not shared:
        return own
    copied = rng.random((rows, n)) < math.sqrt(shared)
    return np.where(copied, rng.random(n), own)
