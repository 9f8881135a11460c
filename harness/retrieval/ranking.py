"""Ranking: the best of many scores, the same ones every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MOST = 256
"""Questions that are scored together at most."""
SCORES = 2**23
"""Scores that are held at once: 64 MiB."""


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


def batches(texts: Sequence[str], indexed: int) -> Iterator[Sequence[str]]:
    """Questions in batches whose scores over so many indexed texts fit into memory."""
    size = max(1, min(MOST, SCORES // max(1, indexed)))
    for at in range(0, len(texts), size):
        yield texts[at : at + size]
