"""What the optimisers of other packages share: their package, a fault on its way through them, and who won."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from types import ModuleType
from typing import NoReturn, TypeVar

from harness.errors import EngineError, Problem, UsageError
from harness.evaluate import MAX_FAILED
from harness.prompts.meter import Arm, Meter, Sheet, Spent
from harness.prompts.searching import Field, Found

T = TypeVar("T")


def package(name: str) -> ModuleType:
    """The optimiser's package. Raises UsageError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as fault:
        hint = f"pip install 'finetune-harness[{name}]', or take another search"
        raise UsageError(
            Problem("prompt.search", f"{name!r} needs the package {name}: {fault}", "race, none", hint)
        ) from fault


@dataclass(slots=True)
class Fuse:
    """Ends a foreign loop at the first fault, also where that loop swallows exceptions and goes on.

    After the first exception nothing more is asked: every further call raises it again.
    """

    blown: Exception | None = field(default=None)

    def guard(self, call: Callable[[], T]) -> T:
        """`call()`, unless something went wrong before."""
        if self.blown is not None:
            raise self.blown
        try:
            return call()
        except Exception as fault:  # kept for whoever swallows it; it is raised again
            self.blown = fault
            raise

    def check(self) -> None:
        """Raise what went wrong; that the budget is spent is no fault but the end."""
        if self.blown is not None and not isinstance(self.blown, Spent):
            raise self.blown


def raw_first(field: Field, meter: Meter, raw: Arm, method: str) -> None:
    """Ask the raw prompt all of dev: what everything else is put against.

    Raises UsageError when the budget does not hold one more prompt, EngineError when not one call is answered.
    """
    least = 2 * meter.cost(raw, field.order)
    if meter.budget < least:
        what = (
            f"{meter.budget} {meter.unit} cannot score the raw prompt and one more on the {len(field.order)} dev items"
        )
        hint = "Raise it, or use fewer dev rows"
        raise UsageError(Problem("prompt.budget", what, f"{method} needs {least} or more", hint))
    samples = meter.ask(raw, field.order)
    if all(sample.error is not None for sample in samples):
        _unanswered(str(samples[-1].error))


def _unanswered(fault: str) -> NoReturn:
    hint = "Look at the logs folder of the experiment; run again, and nothing scored is lost"
    raise EngineError(Problem("prompt search", f"no arm got answers to the dev items: {fault}", next=hint))


def concluded(field: Field, meter: Meter, proposer: str | None = None) -> Found:
    """The arm with the best mean over all dev items, of equals the one that was asked first.

    An arm of whose calls more than `MAX_FAILED` failed is not trusted, as no evaluation is; means are over the items
    that all the others have a score on. Arms that never met all of dev cannot win. Raises EngineError when no arm can.
    """
    met = {key: sheet for key, sheet in meter.sheets.items() if all(item.id in sheet.samples for item in field.order)}
    trusted = {key: scores for key, sheet in met.items() if (scores := _trusted(sheet, field, meter.metric))}
    shared = [id for id in (item.id for item in field.order) if all(id in scores for scores in trusted.values())]
    means = {key: fmean(scores[id] for id in shared or scores) for key, scores in trusted.items()}
    if not means:
        faults = [sample.error for sheet in meter.sheets.values() for sample in sheet.samples.values() if sample.error]
        _unanswered(faults[-1] if faults else "none met all of them")
    ranked = sorted(means, key=lambda key: -means[key])
    best = ranked[0]
    name = meter.sheets[best].arm.prompt.name
    fates = {key: f"{100 * means[key]:.1f} % on dev against {100 * means[best]:.1f} % of {name}" for key in ranked[1:]}
    for key, sheet in met.items():
        if key not in means:
            faults = [sample.error for sample in sheet.samples.values() if sample.error]
            fates[key] = f"too many calls failed: {faults[-1]}" if faults else "no answer has a score"
    for key in meter.sheets:
        fates.setdefault(key, "never met all of dev")
    fates[best] = "winner"
    return Found(winner=meter.sheets[best].arm, fates=fates, ranked=ranked, proposer=proposer)


def _trusted(sheet: Sheet, field: Field, metric: str) -> dict[str, float] | None:
    """Scores by dev item's id; None where too many calls failed or nothing has a score."""
    samples = [sheet.samples[item.id] for item in field.order]
    scores = {sample.id: score for sample in samples if (score := sample.scores[metric]) is not None}
    failed = sum(sample.error is not None for sample in samples)
    return scores if scores and failed <= MAX_FAILED * len(samples) else None
