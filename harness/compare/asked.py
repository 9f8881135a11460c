"""Runs that were stopped early: whether they asked what they had to, and the interval that stopping leaves honest.

Whoever stops as soon as a gate is decided picks the moment, so a fixed-n interval would be too narrow.
The interval of a betting sequence holds at every moment, however it was picked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.asking import asking_key
from harness.compare.samples import ItemKey, Sheet
from harness.compare.selecting import Selection
from harness.errors import Problem
from harness.records import EarlyStop, Interval
from harness.stats.sequences import PairedSequence

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Asked:
    """The order in which a stopped run asked its items."""

    order: NDArray[np.intp]
    """Indices of the items, first asked first, (n,)."""
    largest_unit: int
    """Items in the largest unit that could have come."""


def asked(stop: EarlyStop, sheet: Sheet, selection: Selection, largest_unit: int) -> Asked:
    """The asking order of the selected items of a stopped run."""
    place = {at: i for i, at in enumerate(_in_order(stop.seed, sheet))}
    order = sorted(range(len(selection.items)), key=lambda i: place[selection.items[i]])
    return Asked(np.array(order, dtype=np.intp), largest_unit)


def early_stop_problems(candidate: Sheet, stop: EarlyStop, reference: Sheet) -> list[Problem]:
    """Why a stopped run is not the beginning of a whole one: the first `asked` items in its order, each whole."""
    order = _in_order(stop.seed, reference)
    if stop.of != len(order):
        return [Problem(candidate.run.id, f"stopped early out of {stop.of} items, {reference.run.id} has {len(order)}")]
    first = set(order[: stop.asked])
    owed = {at for at in reference.by_key if at[:2] in first}
    if candidate.by_key.keys() != owed:
        what = f"stopped early, but its samples are not the first {stop.asked} items in the order of seed {stop.seed}"
        return [Problem(candidate.run.id, what, next="Run it again.")]
    return []


def betting_interval(
    x: Floats, kept: NDArray[np.bool_], units: NDArray[np.intp] | None, asked: Asked, limits: tuple[float, float],
    confidence: float,
) -> Interval:  # fmt: skip
    """Anytime-valid interval of the mean of x, each end erring with half of 1 - confidence.

    x: values inside `limits`, (n,), of which those `kept` enter; units: see `Selection`.
    """
    order = asked.order[kept[asked.order]]
    if not len(order):
        return Interval(value=None, low=None, high=None, confidence=confidence, n=0, method="none")
    labels = _by_appearance((order if units is None else units[order]).tolist())
    sequence = PairedSequence(
        sum(limits) / 2, 0.5, 0.5, largest_cluster=asked.largest_unit, lower=limits[0], upper=limits[1]
    )
    sequence.add(np.bincount(labels, weights=x[order]), np.bincount(labels))
    low, high = sequence.interval((1 - confidence) / 2, (1 - confidence) / 2)
    mean = float(x[order].mean())
    return Interval(value=mean, low=low, high=high, confidence=confidence, n=len(order), method="betting")


def _in_order(seed: int, sheet: Sheet) -> list[ItemKey]:
    keyed = {at[:2]: asking_key(seed, at[0], at[1], sample.cluster) for at, sample in sheet.by_key.items()}
    return sorted(keyed, key=keyed.__getitem__)


def _by_appearance(labels: Sequence[int]) -> list[int]:
    """Labels as 0, 1, 2, ... in the order in which they first come."""
    index: dict[int, int] = {}
    return [index.setdefault(label, len(index)) for label in labels]
