"""Two runs joined sample by sample, or one run taken alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.compare.asked import asked
from harness.compare.estimators import Mean, Quantile
from harness.compare.likeness import completeness_problems, likeness_problems
from harness.compare.measures import LATENCIES, Prices
from harness.compare.pairs import Ground, Pairs, Single
from harness.compare.samples import Samples, Scored, Sheet, sheet
from harness.compare.selecting import ALL, PRIMARY, batches, metrics_by_task, select, slice_name
from harness.compare.yardsticks import Floats, item_values, repeat_noise, yardstick
from harness.errors import NotComparableError, Problem, UsageError
from harness.records import Claim, ComparisonRecord, EarlyStop, RunRecord


def join(
    candidates: Sequence[Scored],
    reference: Scored,
    *,
    task: str = ALL,
    metric: str = PRIMARY,
    slice: str | None = None,
    claim: Claim = "artifact",
    factor: float = 1.0,
    prices: Prices | None = None,
) -> Pairs:
    """Join runs of one suite sample by sample; every number of the comparison is then asked of the `Pairs`.

    candidates: one run, or one for each training seed.
    task: one task, or `*` for all items of the suite, each item counting once.
    metric: a name of a score, of a measure (`MEASURES`) or of a corpus metric (`harness.metrics.CORPUS_METRICS`),
    or `primary` for each task's own first metric.
    slice: `name=value`: only items with this property.
    claim: `artifact` averages the seeds item by item and speaks of these very trainings. `recipe` takes seeds as
    a random factor and speaks of the next training too; it needs two seeds at least, and a mean.
    factor: what the reference is multiplied with, for relative margins.

    Samples are joined on (task, id, repeat). Repeats of an item are averaged before anything else. Items that
    share a cluster label stay together, also across tasks. An item counts as unscored when any of its samples, on
    either side and of any seed, has no finite score. A candidate's run that was stopped early is joined on the
    items that it asked.

    Raises NotComparableError (naming each field and both values) for another suite, split, fingerprint, choice of
    primary metrics, any of the conditions or the decoding (see `likeness`), for other texts under one id, for
    samples missing or given twice, for a metric that one of them did not measure, and for a run that was stopped
    early where its metric or claim has no anytime-valid interval;
    UsageError for an unknown task, metric or slice, and for a claim that the runs cannot carry.
    """
    if not candidates:
        raise UsageError("compare: no candidate runs were given. Pass at least one.")
    _refuse_stopped([run for run, _ in candidates], reference[0])
    ours, theirs = [sheet(candidate) for candidate in candidates], sheet(reference)
    cut = None if slice is None else slice_name(slice)
    problems = [problem for side in ours for problem in likeness_problems(side, theirs, cut)]
    if problems:
        raise NotComparableError(problems)
    ground, values, noise = _measure([*ours, theirs], task, metric, slice, prices)
    candidate = "+".join(side.run.id for side in ours)
    pairs = Pairs(ground, candidate, theirs.run.id, claim, factor, _stacked(values[:-1]), values[-1], noise)
    _refuse_claim(pairs)
    stop = ours[0].run.stopped
    return pairs if stop is None else replace(pairs, ground=_anytime(ground, ours[0].run.id, stop, pairs.bounded))


def alone(
    run: Scored,
    *,
    task: str = ALL,
    metric: str = PRIMARY,
    slice: str | None = None,
    prices: Prices | None = None,
) -> Single:
    """One run's own value, e.g. its accuracy, its 95th percentile of latency or its macro-F1; otherwise as `join`.

    A run that was stopped early over items in clusters is refused: it does not tell how large a cluster could come.
    """
    one = sheet(run)
    problems = completeness_problems(one)
    if problems:
        raise NotComparableError(problems)
    ground, [values], _ = _measure([one], task, metric, slice, prices)
    single = Single(ground, one.run.id, values)
    stop = one.run.stopped
    if stop is not None and stop.asked < stop.of and ground.units is not None:
        hint = "Evaluate it without stop_early"
        raise NotComparableError(Problem(one.run.id, "was stopped early over items in clusters", next=hint))
    return single if stop is None else replace(single, ground=_anytime(ground, one.run.id, stop, single.bounded))


def compare(
    candidate: RunRecord,
    candidate_samples: Samples,
    reference: RunRecord,
    reference_samples: Samples,
    *,
    task: str = ALL,
    metric: str = PRIMARY,
    confidence: float = 0.95,
) -> ComparisonRecord:
    """How much better one run is than another, with its interval; see `join` for arguments and errors."""
    pairs = join([(candidate, candidate_samples)], (reference, reference_samples), task=task, metric=metric)
    return pairs.record(confidence)


def _measure(
    sheets: Sequence[Sheet], task: str, metric: str, slice: str | None, prices: Prices | None
) -> tuple[Ground, list[Floats], Floats | None]:
    """What is measured, the values of each run, and what repeats add to an item's variance.

    The last run is the whole one; the first may have stopped early.
    """
    metrics = metrics_by_task(sheets, task, metric)
    first, whole = sheets[0], sheets[-1]
    full = select(whole, metrics, slice)
    stop, selection, order = first.run.stopped, full, None
    if stop is not None:
        selection = select(whole, metrics, slice, only=first.by_key.keys())
        order = asked(stop, first, selection, full.largest_unit)
    if metric in LATENCIES:
        selection = replace(selection, units=batches([first, whole], selection))
    measure, read = yardstick(metrics, prices, lambda: [whole.by_key[at].target for at in selection.keys])
    ground = Ground(whole.run.suite, task, slice, metric, measure, selection.units, selection.repeats, order)
    _refuse_averaged(ground)
    noise = None
    if selection.repeats > 1 and isinstance(measure.estimator, Mean):
        noise = np.sum([repeat_noise(read, sheet, selection) for sheet in sheets], axis=0)
    return ground, [item_values(read, sheet, selection) for sheet in sheets], noise


def _stacked(sides: Sequence[Floats]) -> Floats:
    return sides[0][None] if len(sides) == 1 else np.stack(sides)


def _refuse_claim(pairs: Pairs) -> None:
    """Claims and averages that the runs cannot carry."""
    estimator, metric = pairs.ground.yardstick.estimator, pairs.ground.metric
    found = []
    if pairs.claim == "recipe" and pairs.seeds < 2:
        hint = "Train with two seeds or more (train.seeds), or claim artifact"
        found.append(Problem("claim", "recipe needs several training seeds, one was given", next=hint))
    elif pairs.claim == "recipe" and not isinstance(estimator, Mean):
        hint = "Claim artifact, or use a metric that is a mean over items"
        found.append(Problem("claim", f"recipe has no interval for {metric}", next=hint))
    elif isinstance(estimator, Quantile) and pairs.seeds > 1:
        hint = "Compare the seeds one by one"
        found.append(Problem(metric, "a quantile of several seeds' average is no seed's quantile", next=hint))
    if found:
        raise UsageError(found)


def _refuse_averaged(ground: Ground) -> None:
    """A percentile of averaged repeats is none of the answers."""
    if isinstance(ground.yardstick.estimator, Quantile) and ground.repeats > 1:
        hint = "Take latency_mean_s, or ask each item once"
        raise UsageError(Problem(ground.metric, f"{ground.repeats} repeats an item are averaged first", next=hint))


def _refuse_stopped(candidates: Sequence[RunRecord], reference: RunRecord) -> None:
    """Only one run, the candidate's, may have been stopped early: the reference says what was left to ask."""
    whole = "Evaluate it without stop_early."
    found = []
    if reference.stopped is not None:
        found.append(Problem(reference.id, "was stopped early", "The reference must have every item", whole))
    if len(candidates) > 1:
        stopped = [run.id for run in candidates if run.stopped is not None]
        found += [Problem(name, "was stopped early", "Several seeds are compared whole", whole) for name in stopped]
    if found:
        raise NotComparableError(found)


def _anytime(ground: Ground, run: str, stop: EarlyStop, bounded: bool) -> Ground:
    """The ground on which a run that could stop early has an honest interval. Raises NotComparableError without one.

    Means of scores in [0, 1] have an anytime-valid one. Nothing else ever stops a run, so it is judged on
    whole runs, in the usual way.
    """
    if bounded:
        return ground
    if stop.asked == stop.of:
        return replace(ground, asked=None)
    what = f"was stopped early after {stop.asked} of {stop.of} items"
    allowed = f"That leaves an honest interval to means of scores in [0, 1], and {ground.metric} is none"
    raise NotComparableError(Problem(run, what, allowed, "Evaluate it without stop_early"))
