"""How good the best prompt so far was as the budget was spent: the same for every search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from harness.prompts.meter import Meter
from harness.records import Item, TracePoint


def trace(meter: Meter, order: Sequence[Item], names: Mapping[str, str]) -> tuple[TracePoint, ...]:
    """A point each time that an arm was asked dev items.

    The leader is the arm with the best mean among those that had been asked most dev items by then; its mean is over
    those items, so an early one is rough and rather too good: it led because of it.
    """
    dev = {item.id for item in order}
    scores: dict[str, list[float]] = {}
    met: dict[str, int] = {}
    points: list[TracePoint] = []
    for asked in meter.history:
        ids = [id for id in asked.ids if id in dev]
        if not ids:
            continue
        samples = meter.sheets[asked.key].samples
        got = [score for id in ids if (score := samples[id].scores[meter.metric]) is not None]
        scores.setdefault(asked.key, []).extend(got)
        met[asked.key] = met.get(asked.key, 0) + len(ids)
        most = max(met.values())
        means = {key: fmean(scores[key]) for key, count in met.items() if count == most and scores[key]}
        leader = max(means, key=means.__getitem__) if means else asked.key
        points.append(TracePoint(calls=asked.calls, tokens=asked.tokens, leader=names[leader], mean=means.get(leader)))
    return tuple(points)
