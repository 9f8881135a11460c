"""A gate's outcome in one sentence with its numbers, and what would settle an undecided one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from scipy import special

from harness.compare import Pairs, Single
from harness.gates.forecasting import MOST_SEEDS, rounded
from harness.gates.questions import REPAIR, Answered, Question
from harness.records import SliceOutcome
from harness.stats import normal_quantile

POWER_QUANTILE = float(special.ndtri(0.8))
"""What settles a gate settles it with a chance of 80 %."""
AT_THE_MARGIN = "no number of items would settle it: the estimate is at the margin"
MOST_REPEATS = 100
"""More answers per item than anyone will sample."""
MOST = 1_000_000
"""More items than anyone will collect."""


def reason(question: Question, fail_level: float) -> str:
    """Why the gate passed, failed or could not decide."""
    cannot = question.undecidable()
    if cannot is not None:
        return cannot
    seen, show = _seen(question, fail_level), units(question)
    margin = _margin(question, show)
    side = {True: "below", False: "above"}
    passed, failed = question.seems_to_pass(), question.seems_to_fail(fail_level)
    if not passed and not failed:
        if question.pass_level <= 0:
            return f"{seen}: this test split is spent, no look may pass any more; judge on a fresh test split."
        return f"{seen}: {margin} lies inside; {settles(question)}."
    low_is_right = question.below or _turned(question)
    told = f"{seen}: all of it lies {side[low_is_right is not failed]} {margin}"
    if passed and not question.passes():
        return told + _spoiled(question, question.pass_level, passing=True, show=show)
    if failed and not question.fails(fail_level):
        return told + _spoiled(question, fail_level, passing=False, show=show)
    return told + "."


def _seen(question: Question, fail_level: float) -> str:
    """The estimate with the interval that decided; where less is better, as candidate minus reference all the same."""
    evidence, show = question.evidence, units(question)
    assert evidence is not None  # noqa: S101  an undecidable question has its own words
    plain, (low, high) = evidence.interval(0.95), question.ends(fail_level)
    value = plain.value or 0.0
    if _turned(question):
        value, low, high = 0.0 - value, None if high is None else 0.0 - high, None if low is None else 0.0 - low
    ends = f"{'–' if low is None else show(low, False)} to {'–' if high is None else show(high, False)}"
    pass_level = question.pass_level
    if math.isclose(pass_level, fail_level):
        kind = f"{100 * (1 - 2 * pass_level):.4g}% interval {ends}"
    else:
        yes = "none may be spent" if pass_level <= 0 else f"{100 * pass_level:.3g}%"
        kind = f"{ends}, one-sided error of a pass {yes}, of a fail {100 * fail_level:.3g}%"
    what = "Difference" if isinstance(evidence, Pairs) else "Value"
    if isinstance(evidence, Pairs) and question.gate.relative:
        what = f"Difference to {evidence.factor:.4g} times the reference:"
    return f"{what} {show(value, True)} ({kind}, n = {plain.n}, {plain.method})"


def _turned(question: Question) -> bool:
    """Whether less is better: evidence says how much better a candidate is, people read candidate minus reference."""
    return isinstance(question.evidence, Pairs) and not question.evidence.higher_is_better


def _margin(question: Question, show: Callable[[float, bool], str]) -> str:
    gate, turned = question.gate, _turned(question)
    if gate.relative:
        return f"0, the margin of {100 * (gate.min_delta or 0) * (-1 if turned else 1):+.4g}% of the reference"
    name = "margin" if gate.rule == "min_delta" else "limit"
    return f"the {name} of {show(-gate.margin if turned else gate.margin, False)}"


def _spoiled(question: Question, level: float, *, passing: bool, show: Callable[[float, bool], str]) -> str:
    """Why unscored items undo what the scored ones show."""
    evidence = question.evidence
    assert evidence is not None  # noqa: S101  see _seen
    if question.blind:
        share = f"{evidence.unscored} of {evidence.n + evidence.unscored} items"
        return f", but {share} have no score and could have been anything; {REPAIR}."
    away = question.end(level, passing=passing, worst=True) * (-1 if question.below else 1)
    return (
        f", but {evidence.unscored} of {evidence.n + evidence.unscored} items have no score, and were they all "
        f"{'lost' if passing else 'won'} it would reach {show(question.gate.margin + away, False)}; {REPAIR}."
    )


def units(question: Question) -> Callable[[float, bool], str]:
    """How to write a value or a difference: differences of shares in points, the rest in the metric's own unit."""
    evidence = question.evidence
    if evidence is None or not evidence.bounded:
        sign = "+" if isinstance(evidence, Pairs) else ""
        return lambda x, _: f"{x:{sign}.4g}"
    if isinstance(evidence, Pairs):
        return lambda x, unit: f"{100 * x:+.1f}" + (" points" if unit else "")
    return lambda x, _: f"{x:.3f}"


def settles(question: Question) -> str:
    """What would settle an undecided question, if things stay as seen: more items, or more seeds."""
    evidence, value = question.evidence, question.value
    if evidence is None or value is None:
        return "evaluate it first"
    gap = abs(value - question.gate.margin)
    yes = (value > question.gate.margin) is not question.below
    level = question.pass_level if yes and question.pass_level > 0 else 0.025
    interval = question.interval(level)
    half = _half(interval.low if interval else None, interval.high if interval else None, value, yes, question.below)
    if half is None:
        return f"{evidence.n} items are too few for an end on that side; add more"
    if gap < 1e-9:
        return AT_THE_MARGIN
    quantile = normal_quantile(1 - 2 * level)
    ratio = (half / gap * (1 + POWER_QUANTILE / quantile)) ** 2
    needed = max(math.ceil(evidence.n * ratio), evidence.n + 1)
    if needed > MOST:
        return AT_THE_MARGIN
    clusters = evidence.clusters
    kind = f"{rounded(needed)} items" if clusters is None else f"{rounded(math.ceil(clusters * ratio))} clusters"
    items = f"about {kind} would settle it at the difference and variance seen"
    return _seeds(evidence, 1 - 2 * level, half, gap) or items + _repeats(question, ratio, 1 - 2 * level)


def _half(low: float | None, high: float | None, value: float, yes: bool, below: bool) -> float | None:
    """From the estimate to the end that has to clear the margin."""
    end = low if yes is not below else high
    return None if end is None else abs(value - end)


def _seeds(evidence: Pairs | Single, confidence: float, half: float, gap: float) -> str | None:
    """For a claim about the recipe: how many seeds would do, where these items would. See `stats.recipe_interval`.

    Its half width is the root of a sum of squares: that of the items, and t over the seeds. The second falls fast,
    since few seeds have a large t quantile.
    """
    if not isinstance(evidence, Pairs) or evidence.claim != "recipe":
        return None
    alone = replace(evidence, claim="artifact").interval(confidence)
    items = ((alone.high or 0.0) - (alone.low or 0.0)) / 2
    spread = math.sqrt(max(half**2 - items**2, 0.0)) / _t(evidence.seeds, confidence)
    for seeds in range(evidence.seeds + 1, MOST_SEEDS + 1):
        if math.hypot(items, spread * _t(seeds, confidence)) < gap:
            return f"about {seeds} seeds would settle it at the difference and spread seen"
    return None


def _t(seeds: int, confidence: float) -> float:
    """How far the mean of so many seeds may lie, in standard deviations of one."""
    return float(special.stdtrit(seeds - 1, 0.5 + confidence / 2)) / math.sqrt(seeds)


def _repeats(question: Question, ratio: float, confidence: float) -> str:
    """How many repeats of the same items would do as well, where they are what the variance comes from.

    With a share s of the variance from r repeats, R repeats leave 1 - s + s * r / R of it; 1 / ratio is wanted.
    """
    evidence = question.evidence
    share = evidence.repeats_share(confidence) if isinstance(evidence, Pairs) else 0.0
    room = 1 / ratio - (1 - share)
    if not isinstance(evidence, Pairs) or room <= 0 or evidence.repeats * share / room > MOST_REPEATS:
        return ""
    return f", or {max(math.ceil(evidence.repeats * share / room), evidence.repeats + 1)} repeats of each"


def broken_reason(answered: Answered) -> str:
    """For must-not-break items."""
    total = len(answered.right) + len(answered.wrong) + len(answered.unscored)
    if answered.wrong:
        some = ", ".join(answered.wrong[:5]) + (", …" if len(answered.wrong) > 5 else "")
        return f"{len(answered.wrong)} of {total} items that must not break are wrong: {some}."
    if answered.unscored:
        return f"{len(answered.unscored)} of {total} items that must not break have no score; {REPAIR}."
    return f"All {total} items that must not break are right." if total else "There is no item, so nothing was shown."


def parts_reason(parts: Sequence[SliceOutcome], worst: str) -> str:
    """For a gate on several parts: how many are how, then the one that stands for it."""
    counts = {kind: sum(one.outcome == kind for one in parts) for kind in ("fail", "inconclusive", "pass")}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"Of {len(parts)}: {told}. Worst is {parts[0].slice}: {worst[:1].lower()}{worst[1:]}"
