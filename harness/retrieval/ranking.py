"""Ranking: the best of many scores, the same ones every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BATCH = 256
"""Questions that are scored together: bounds memory at this many scores per indexed text."""


class Ranker(Protocol):
    """Scores indexed texts for questions."""

    floor: float
    """What is found scores above it; what does not has nothing to do with the question."""

    def scores(self, texts: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """One array (indexed texts,) a question, in order; the caller may write into it."""
        ...


def best(scores: NDArray[np.float64], count: int, barred: Set[int]) -> list[int]:
    """Positions of the highest scores, best first, the barred ones left out. Ties go to the earlier position."""
    count = min(count, len(scores) - len(barred))
    if count < 1:
        return []
    scores[list(barred)] = -np.inf
    least = np.partition(scores, -count)[-count]
    near = np.flatnonzero(scores >= least)
    ranked: list[int] = near[np.argsort(-scores[near], kind="stable")][:count].tolist()
    return ranked
