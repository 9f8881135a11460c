"""What a training's own curves say against it, by stated rules that chance does not fire.

Every comparison is paired over the dev items, with an interval at a level shared among all looks that were taken
(Bonferroni): the best of several looks is too good by luck, and the last is held against it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence

from harness.records import TrainingFinding, TrainingPoint
from harness.stats import paired_interval
from harness.trainers.selection import Look

ALPHA = 0.05
"""Chance that a rule fires where nothing is wrong, at most."""
WORSE_LOSS = 0.05
"""Share by which the loss on dev must have risen from its lowest, beside being surely higher."""
FALLEN = 0.1
"""Share by which the training loss must have fallen for a rule to speak."""
FEWEST = 20
"""Dev items below which nothing is said."""
ALIKE = 1.0
"""Standard errors within which two mean scores must lie to be called no better than each other: that few items cannot
tell them apart is no fault of a training that scores low but above chance."""

RISEN = 1.5
"""Times the mean loss of the first quarter that the last quarter's must be for a training to be called diverged."""
RISEN_BY = 0.5
"""And how much higher it must be, so that the noise of a loss near zero is none."""
STEPS = 8
"""Logged losses below which that is not asked."""

Clusters = Sequence[Hashable] | None


def findings(
    curve: Sequence[TrainingPoint],
    looks: Sequence[Look],
    best: Look | None,
    crossed: Sequence[tuple[float, float]],
    clusters: Clusters = None,
) -> tuple[TrainingFinding, ...]:
    """All of them.

    looks: in order, none where dev was not asked; step 0 is what training began from. best: the one whose weights came
    out. crossed: of each of its answers the score to its own question, and the mean score to others. clusters: one
    label a dev item.
    """
    found = [diverged(curve)]
    if after := [look for look in looks if look.step]:
        found += [_overfitting(curve, after, best, clusters), _by_chance(curve, len(after), best, crossed)]
    return tuple(one for one in found if one is not None)


def diverged(curve: Sequence[TrainingPoint]) -> TrainingFinding | None:
    """The training loss ends far above where it began: the learning rate is too high for what is trained."""
    losses = [point.loss for point in curve]
    if len(losses) < STEPS:
        return None
    quarter = len(losses) // 4
    first, last = (math.fsum(part) / quarter for part in (losses[:quarter], losses[-quarter:]))
    if last < max(RISEN * first, first + RISEN_BY):
        return None
    message = (
        f"diverged: the training loss rose from {first:.3f} (mean of the first {quarter} logs) to {last:.3f} (of the "
        "last): lower train.learning_rate, or raise train.warmup"
    )
    return TrainingFinding(rule="diverged", message=message)


def _overfitting(
    curve: Sequence[TrainingPoint], looks: Sequence[Look], best: Look | None, clusters: Clusters
) -> TrainingFinding | None:
    """The training loss falls from the best look to the last, while the score or the loss on dev gets worse.

    Two comparisons a look are made at most, so each has ALPHA / (2 looks).
    """
    last, confidence = looks[-1], 1 - ALPHA / (2 * len(looks))
    told = []
    if best is not None and (falls := _falls(curve, best.step, last.step)):
        change = _difference(last.scores, best.scores, clusters, confidence)
        if change is not None and change[1] < 0:
            told.append(
                f"the score on dev went from {_number(best.mean)} at step {best.step} to {_number(last.mean)} at step "
                f"{last.step} (difference in {_span(change)}), while the training loss {falls}"
            )
    known = [(loss, look.step, look) for look in looks if (loss := look.point.loss) is not None]
    low, low_step, lowest = min(known, key=lambda one: one[:2], default=(None, 0, last))
    high, falls = last.point.loss, _falls(curve, low_step, last.step)
    if low is not None and high is not None and high > (1 + WORSE_LOSS) * low and falls:
        change = _difference(_each(last), _each(lowest), clusters, confidence, shares=False)
        if change is not None and change[0] > 0:
            told.append(
                f"the loss on dev went from {low:.3f} at step {low_step} to {high:.3f} at step {last.step} "
                f"(difference a row in {_span(change)}), while the training loss {falls}"
            )
    if not told:
        return None
    return TrainingFinding(rule="overfitting", message=f"overfitting: {'; '.join(told)}")


def _by_chance(
    curve: Sequence[TrainingPoint], looks: int, best: Look | None, crossed: Sequence[tuple[float, float]]
) -> TrainingFinding | None:
    """The training loss falls, but answers fit their own questions no better than other ones.

    So do answers of a model that learned from shuffled labels, or gives one answer to everything.
    """
    falls = _falls(curve, 0, curve[-1].step if curve else 0)
    if best is None or not falls or len(crossed) < FEWEST:
        return None
    own, other = [pair[0] for pair in crossed], [pair[1] for pair in crossed]
    interval = paired_interval(own, other, confidence=1 - ALPHA / looks)
    if interval.value is None or interval.low is None or interval.high is None or interval.low > 0:
        return None
    spread = [one - two for one, two in zip(own, other, strict=True)]
    if interval.value > ALIKE * statistics.stdev(spread) / math.sqrt(len(spread)):
        return None
    means = [math.fsum(values) / len(values) for values in (own, other)]
    message = (
        f"no better than chance: at step {best.step} answers to dev score {means[0]:.3f} on their own questions and "
        f"{means[1]:.3f} on other ones (difference in {_span((interval.low, interval.high))}, "
        f"n = {len(own)}), while the training loss {falls}: labels that are shuffled, wrong or do not follow from the "
        "questions look like this, and so does one answer to everything"
    )
    return TrainingFinding(rule="no_better_than_chance", message=message)


def _difference(
    one: Sequence[float | None],
    other: Sequence[float | None],
    clusters: Clusters,
    confidence: float,
    shares: bool = True,
) -> tuple[float, float] | None:
    """Interval of the mean difference, over the items that both have; None where they are too few."""
    both = [(a, b, at) for at, (a, b) in enumerate(zip(one, other, strict=True)) if a is not None and b is not None]
    if len(both) < FEWEST:
        return None
    labels = None if clusters is None else [clusters[at] for *_, at in both]
    found = paired_interval([a for a, *_ in both], [b for _, b, _ in both], labels, confidence, shares=shares)
    return None if found.low is None or found.high is None else (found.low, found.high)


def _each(look: Look) -> list[float | None]:
    """Loss on each item's gold answer (nats per token)."""
    return [None if nats is None else nats / n for nats, n in zip(look.nats, look.tokens, strict=True)]


def _falls(curve: Sequence[TrainingPoint], start: int, end: int) -> str:
    """In words, how the training loss fell from one step to another; empty where it did not fall enough.

    It is read as a mean over a fifth of the points, since single batches differ.
    """
    width = max(1, len(curve) // 5)
    before = [point.loss for point in curve if point.step <= start][-width:] or [point.loss for point in curve[:1]]
    after = [point.loss for point in curve if point.step <= end][-width:]
    if not before or not after:
        return ""
    first, last = math.fsum(before) / len(before), math.fsum(after) / len(after)
    return f"fell from {first:.3f} to {last:.3f}" if last < (1 - FALLEN) * first else ""


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _span(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:+.3f}, {interval[1]:+.3f}]"
