"""The order of rows, planned for the whole training from the seed alone.

A trainer that draws it epoch by epoch from the global random state gives a resumed
training other rows than an uninterrupted one would have had.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import islice

from harness.trainers.balance import cycled, resampled
from harness.trainers.base import Job

MOST_GROUPED = 50
"""Batches that are drawn together at most, and told apart by length."""


def rows_an_epoch(job: Job) -> int:
    """Rows that a pass over the task's rows takes, the general ones among them; pairs, or answers, where those are
    learned from."""
    if job.spec.objective in ("dpo", "orpo"):
        return len(job.pairs)
    if job.spec.objective == "kto":
        return sum(answer is not None for pair in job.pairs for answer in (pair.chosen, pair.rejected))
    replay = job.spec.replay if job.replay else None
    return len(job.rows) if replay is None else math.ceil(len(job.rows) / (1 - replay.ratio))


def endless(job: Job, shuffler: random.Random) -> Iterator[int]:
    """Indices of `[*job.rows, *job.replay]` without end, as the spec balances and mixes them."""
    task = cycled(range(len(job.rows)), shuffler)
    if job.spec.balance == "resample":
        task = resampled(job.rows, shuffler)
    if not job.replay or job.spec.replay is None:
        return task
    general = cycled(range(len(job.rows), len(job.rows) + len(job.replay)), shuffler)
    return _mixed(task, general, job.spec.replay.ratio)


def _mixed(task: Iterator[int], general: Iterator[int], ratio: float) -> Iterator[int]:
    """Both, `ratio` of them general, in every stretch as nearly as can be."""
    owed = 0.0
    while True:
        owed += ratio
        yield next(general if owed >= 1 else task)
        owed -= owed >= 1


def plan(lengths: Sequence[int], batch: int, steps: int, seed: int, job: Job | None = None) -> list[int]:
    """Indices of the rows in the order of training, `batch` of them for each of `steps`.

    Every row comes once before any comes again, or as the job's spec balances and mixes them. Rows of like length
    share a batch, which saves padding; the longest comes first, so that memory that will not do is known at once.
    """
    shuffler = random.Random(seed)
    rows = cycled(range(len(lengths)), shuffler) if job is None else endless(job, shuffler)
    stream = list(islice(rows, steps * batch))
    group = batch * min(MOST_GROUPED, max(1, len(lengths) // (4 * batch)))
    batches: list[list[int]] = []
    for start in range(0, steps * batch, group):
        drawn = sorted(stream[start : min(start + group, steps * batch)], key=lambda row: lengths[row])
        cut = [drawn[at : at + batch] for at in range(0, len(drawn), batch)]
        batches += shuffler.sample(cut, len(cut))
    longest = max(range(steps), key=lambda at: max(lengths[row] for row in batches[at]))
    batches[0], batches[longest] = batches[longest], batches[0]
    return [row for rows in batches for row in rows]
