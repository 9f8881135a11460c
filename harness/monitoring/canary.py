"""Two versions in one log: paired where both answered the same questions, as independent samples otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from scipy import stats as scipy_stats

from harness import stats
from harness.errors import Problem, UsageError, did_you_mean
from harness.monitoring.drift import holm
from harness.monitoring.requests import Request
from harness.records import CanaryLine, CanaryRecord, Interval

Measure = Callable[[Request], float | None]

FEWEST: Final = 20
"""Values on either side from which versions are compared."""
PAIRED: Final = 0.5
"""Share of the smaller version's questions that the other one answered too, from which they are compared in pairs."""
DRAWS: Final = 1999


def compare(
    requests: Sequence[Request], candidate: str, reference: str, measures: dict[str, tuple[bool | None, Measure]]
) -> CanaryRecord:
    """Compare two versions. measures: name to (whether higher is better, the value of a request or None).

    Raises UsageError for a version that the logs do not name.
    """
    by = {name: [r for r in requests if r.version == name] for name in (candidate, reference)}
    for name, some in by.items():
        if not some:
            known = sorted({request.version for request in requests if request.version})
            raise UsageError(Problem("--canary", f"no request of version {name!r}", did_you_mean(name, known)))
    ours, theirs = by[candidate], by[reference]
    pairs = _pairs(ours, theirs)
    made = []
    for name, (better, measure) in measures.items():
        made += _line(name, better, measure, ours, theirs, pairs)
    corrected = iter(holm([line.p for line in made if line.p is not None]))
    lines = tuple(line if line.p is None else line.model_copy(update={"p_corrected": next(corrected)}) for line in made)
    return CanaryRecord(
        candidate=candidate, reference=reference, n_candidate=len(ours), n_reference=len(theirs),
        paired=len(pairs), lines=lines,
    )  # fmt: skip


def _pairs(ours: Sequence[Request], theirs: Sequence[Request]) -> list[tuple[Request, Request]]:
    """Requests of both for the same turns, once each; none where too few questions are shared."""
    asked = {request.turns: request for request in reversed(theirs) if request.turns}
    mine = {request.turns: request for request in reversed(ours) if request.turns}
    shared = [(request, asked[turns]) for turns, request in mine.items() if turns in asked]
    return shared if len(shared) >= max(FEWEST, PAIRED * min(len(mine), len(asked))) else []


def _line(
    name: str, better: bool | None, measure: Measure, ours: Sequence[Request], theirs: Sequence[Request],
    pairs: Sequence[tuple[Request, Request]],
) -> list[CanaryLine]:  # fmt: skip
    shares = name in ("quality", "valid", "error")
    if pairs:
        both = [(measure(a), measure(b)) for a, b in pairs]
        kept = [(a, b) for a, b in both if a is not None and b is not None]
        one, other = (np.array([pair[at] for pair in kept], np.float64) for at in (0, 1))
    else:
        one, other = (np.array([v for v in map(measure, side) if v is not None], np.float64) for side in (ours, theirs))
    if min(len(one), len(other)) < FEWEST:
        return []
    ends = [stats.mean_interval(side, shares=shares) for side in (one, other)]
    difference = stats.paired_interval(one, other, shares=shares) if pairs else independent(ends[0], ends[1])
    return [
        CanaryLine(
            measure=name, higher_is_better=better, candidate=ends[0], reference=ends[1], difference=difference,
            p=permuted(one, other, paired=bool(pairs)), p_corrected=None,
        )
    ]  # fmt: skip


def independent(one: Interval, other: Interval) -> Interval:
    """Difference of two independent means from their own intervals (MOVER: Newcombe, 1998, Statistics in Medicine 17,
    873-890, method 10 for shares; Zou and Donner, 2008, Statistics in Medicine 27, 1693-1702, for means)."""
    n = min(one.n, other.n)
    if one.value is None or other.value is None:
        return Interval(value=None, low=None, high=None, confidence=one.confidence, n=n, method="none")
    value, ends = one.value - other.value, (one.low, one.high, other.low, other.high)
    if any(end is None for end in ends):
        return Interval(value=value, low=None, high=None, confidence=one.confidence, n=n, method="none")
    low, high, their_low, their_high = (float(end) for end in ends if end is not None)
    down = math.hypot(one.value - low, their_high - other.value)
    up = math.hypot(high - one.value, other.value - their_low)
    return Interval(
        value=value, low=value - down, high=value + up, confidence=one.confidence, n=n, method="mover-independent"
    )


def permuted(one: np.typing.NDArray[np.float64], other: np.typing.NDArray[np.float64], *, paired: bool) -> float:
    """Two-sided permutation p-value of equal means: signs of the differences, or who belongs to whom."""
    found = scipy_stats.permutation_test(
        (one, other),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="samples" if paired else "independent",
        n_resamples=DRAWS, batch=max(1, 2_000_000 // (len(one) + len(other))), vectorized=True,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)
