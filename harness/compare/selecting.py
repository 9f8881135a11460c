"""Which samples and which metric of each task a comparison takes; unknown names are answered with the nearest."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.compare.measures import MEASURES
from harness.compare.samples import ItemKey, SampleKey, Samples, Sheet
from harness.errors import NotComparableError, Problem, UsageError, did_you_mean
from harness.metrics import CORPUS_METRICS

ALL = "*"
PRIMARY = "primary"


@dataclass(frozen=True, eq=False)
class Selection:
    """The samples that enter, sorted, and how they make up items and independent units."""

    keys: Sequence[SampleKey]
    """Sorted, so the repeats of an item stand together."""
    items: Sequence[ItemKey]
    """Shape (n,)."""
    starts: NDArray[np.intp]
    """Where in `keys` each item begins, (n,)."""
    units: NDArray[np.intp] | None
    """Independent unit (cluster, or the item itself) of each item, 0..G-1, (n,). None: every item stands alone."""

    @property
    def repeats(self) -> int:
        """Most samples of any item; 1 when there is none."""
        return int(np.diff(self.starts, append=len(self.keys)).max(initial=1))

    @property
    def largest_unit(self) -> int:
        """Items in the largest unit; 1 when there is none."""
        return 1 if self.units is None else int(np.bincount(self.units).max(initial=1))


def select(
    sheet: Sheet, tasks: Iterable[str], slice: str | None = None, only: Container[SampleKey] | None = None
) -> Selection:
    """A run's samples of these tasks, of one slice (`name=value`) if any is given, and of the keys in `only`.

    Items with one cluster label are one unit, also across tasks: joining clusters costs power,
    splitting one would make the interval a lie. Raises UsageError for an unknown slice.
    """
    wanted = set(tasks)
    keys = sorted(at for at in sheet.by_key if at[0] in wanted)
    if slice is not None:
        name, value = _known_slice([sheet.by_key[at] for at in keys], slice)
        keys = [at for at in keys if sheet.by_key[at].slices.get(name) == value]
    if only is not None:
        keys = [at for at in keys if at in only]
    starts = [i for i, at in enumerate(keys) if i == 0 or at[:2] != keys[i - 1][:2]]
    items = [keys[i][:2] for i in starts]
    units = units_of([sheet.by_key[keys[i]].cluster for i in starts])
    return Selection(keys, items, np.array(starts, dtype=np.intp), units)


def units_of(labels: Sequence[str | None]) -> NDArray[np.intp] | None:
    """Cluster labels as 0..G-1 by appearance, (n,); an item without one is its own unit. None when no item has one."""
    if all(label is None for label in labels):
        return None
    index: dict[str | int, int] = {}
    named = [i if label is None else label for i, label in enumerate(labels)]
    return np.array([index.setdefault(name, len(index)) for name in named], dtype=np.intp)


def batches(sheets: Sequence[Sheet], selection: Selection) -> NDArray[np.intp]:
    """Units for latencies: items that were answered in one batch, on either side, are not independent of each other.

    An engine that answers a batch at once gives each of its answers the batch's seconds, to the last bit; answers
    timed one by one do not agree so. Clusters stay together as well.
    """
    from scipy.sparse import coo_matrix  # only latencies need it
    from scipy.sparse.csgraph import connected_components

    count = len(selection.items)
    units = range(count) if selection.units is None else selection.units.tolist()
    firsts: dict[tuple[int, float], int] = {}
    rows, columns = [], []
    for item, (start, unit) in enumerate(zip(selection.starts.tolist(), units, strict=True)):
        seconds = [sheet.by_key[selection.keys[start]].latency_s for sheet in sheets]
        for label in [(-1, unit), *((side, value) for side, value in enumerate(seconds) if value is not None)]:
            rows.append(item)
            columns.append(firsts.setdefault(label, item))
    graph = coo_matrix((np.ones(len(rows)), (np.array(rows), np.array(columns))), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.intp)


# ------------------------------------------------------------------------- slices


def slice_values(samples: Samples, name: str) -> tuple[str, ...]:
    """Every value of a property of the items, sorted. Raises UsageError when no item has it."""
    found = sorted({sample.slices[name] for sample in samples if name in sample.slices})
    if not found:
        names = {known for sample in samples for known in sample.slices}
        hint = did_you_mean(name, sorted(names)) if names else "These items have no slices"
        raise UsageError(Problem("slice", f"unknown name {name!r}", hint))
    return tuple(found)


def slice_name(slice: str) -> str:
    """The property that `name=value` speaks of. Raises UsageError for text of another form."""
    return _parts(slice)[0]


def _parts(slice: str) -> tuple[str, str]:
    name, sign, value = slice.partition("=")
    if not (name and sign and value):
        raise UsageError(Problem("slice", f"got {slice!r}", "name=value, e.g. language=de"))
    return name, value


def _known_slice(samples: Samples, slice: str) -> tuple[str, str]:
    name, value = _parts(slice)
    known = slice_values(samples, name)
    if value not in known:
        raise UsageError(Problem("slice", f"unknown value {value!r} of {name}", did_you_mean(value, known)))
    return name, value


# ------------------------------------------------------------------------ metrics


def metrics_by_task(sheets: Sequence[Sheet], task: str, metric: str) -> dict[str, str]:
    """Task name to the metric to take there; the last sheet's run says what is primary.

    Raises UsageError for names that nobody knows, NotComparableError for a metric that one run did not measure.
    """
    run = sheets[-1].run
    known = sorted(run.primary.keys() | {at[0] for sheet in sheets for at in sheet.by_key})
    if task != ALL and task not in known:
        raise UsageError(Problem(f"suite {run.suite}", f"unknown task {task!r}", did_you_mean(task, [ALL, *known])))
    chosen = known if task == ALL else [task]
    wanted = {name: run.primary.get(name, PRIMARY) if metric == PRIMARY else metric for name in chosen}
    if metric not in MEASURES and metric not in CORPUS_METRICS:
        _refuse_unmeasured(sheets, {name: found for name, found in wanted.items() if found != run.primary.get(name)})
    return wanted


def _refuse_unmeasured(sheets: Sequence[Sheet], wanted: Mapping[str, str]) -> None:
    """Refuse metrics that are nobody's (a wrong name) or only one side's (another evaluation)."""
    measured = [{task: _score_names(sheet, task) for task in wanted} for sheet in sheets]
    run = sheets[-1].run
    unknown, missing = [], []
    for task, metric in wanted.items():
        names = {run.primary[task]} if task in run.primary else set()
        names = names.union(*(side[task] for side in measured))
        if metric not in names:
            hint = did_you_mean(metric, [PRIMARY, *names, *MEASURES, *CORPUS_METRICS])
            unknown.append(Problem(f"suite {run.suite}: task {task}", f"unknown metric {metric!r}", hint))
        what, hint = f"{metric!r} was not measured on task {task}", "Add it to its metrics and run it again"
        sides = zip(sheets, measured, strict=True)
        missing += [Problem(sheet.run.id, what, next=hint) for sheet, side in sides if metric not in side[task]]
    if unknown:
        raise UsageError(unknown)
    if missing:
        raise NotComparableError(missing)


def _score_names(sheet: Sheet, task: str) -> set[str]:
    return {name for at, sample in sheet.by_key.items() if at[0] == task for name in sample.scores}
