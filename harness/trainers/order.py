"""The order of rows, planned for the whole training from the seed alone.

A trainer that draws it epoch by epoch from the global random state gives a resumed
training other rows than an uninterrupted one would have had.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

MOST_GROUPED = 50
"""Batches that are drawn together at most, and told apart by length."""


def plan(lengths: Sequence[int], batch: int, steps: int, seed: int) -> list[int]:
    """Indices of the rows in the order of training, `batch` of them for each of `steps`.

    Every row comes once before any comes again. Rows of like length share a batch, which
    saves padding; the longest comes first, so that memory that will not do is known at once.
    """
    shuffler = random.Random(seed)
    stream: list[int] = []
    while len(stream) < steps * batch:
        stream += shuffler.sample(range(len(lengths)), len(lengths))
    group = batch * min(MOST_GROUPED, max(1, len(lengths) // (4 * batch)))
    batches: list[list[int]] = []
    for start in range(0, steps * batch, group):
        drawn = sorted(stream[start : min(start + group, steps * batch)], key=lambda row: lengths[row])
        cut = [drawn[at : at + batch] for at in range(0, len(drawn), batch)]
        batches += shuffler.sample(cut, len(cut))
    longest = max(range(steps), key=lambda at: max(lengths[row] for row in batches[at]))
    batches[0], batches[longest] = batches[longest], batches[0]
    return [row for rows in batches for row in rows]
