"""The order in which an evaluation asks its items: random, fixed by a seed, and the same for who reads it later."""

from __future__ import annotations

from functools import lru_cache

from harness.records import digest


@lru_cache(maxsize=2**18)  # an early-stopping evaluation orders the same items again at every look
def asking_key(seed: int, task: str, id: str, cluster: str | None) -> tuple[str, str, str]:
    """Sort key of an item: a random place for its cluster, then for itself inside it.

    Items of a cluster stand together, so that a cluster is seen whole before the next one begins. The
    place depends on names alone, never on the order of a file: sequential inference wants an order that
    knows nothing of the scores.
    """
    unit = digest([seed, cluster]) if cluster is not None else digest([seed, task, id])
    return unit, digest([seed, task, id]), id
