"""The seam of prompt search: what a searcher is handed, what it owes, and which there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.data import Split
from harness.evaluate import TaskSpec
from harness.prompts.meter import Arm, Meter
from harness.prompts.spec import PromptSpec
from harness.records import Item
from harness.retrieval import Shelves


@dataclass(frozen=True, slots=True)
class Field:
    """What a searcher may learn from: never the test split, which is no `Split` that it could be handed."""

    instruction: str
    """The task's own instruction: the raw prompt."""
    task: TaskSpec
    train: Split
    """Demonstrations come from here."""
    dev: Split
    """Arms are scored here."""
    order: tuple[Item, ...]
    """The dev items in the order in which every arm is asked them: shared items make differences paired."""
    shelves: Shelves | None = None
    """Where prompts look things up; without them no demonstrations are looked up."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a searcher came back with."""

    winner: Arm
    fates: Mapping[str, str] = field(default_factory=dict)
    """Arm key to why and when it fell; arms without one are told by their scores."""
    rungs: Mapping[str, int] = field(default_factory=dict)
    """Arm key to the last round in which it was asked."""
    ranked: Sequence[str] = ()
    """Arm keys, best first; arms that are not named follow by their mean."""
    proposer: str | None = None
    """Which model wrote instruction variants."""


class Searcher(Protocol):
    """Finds the best prompt that a budget buys.

    A searcher asks through the meter alone, so that every call is counted and durable, and reads scores off the
    samples that it gets back (`sample.scores[meter.metric]`; None is a failed call, never a wrong answer). It must

    - be deterministic under `spec.seed`, given the same answers: a killed search is simply run again over the
      journal, takes the same path and asks only what is owed;
    - leave enough for the winner to meet every dev item: `meter.cost(winner, field.order) <= meter.left` when it
      returns, which is then asked of it and counted;
    - return a plain prompt: instruction, demonstrations (of train rows, by id), template, retrieval, constraint.
      Nothing that needs the optimiser's own package to be served;
    - never do worse on dev than the raw prompt without saying so: the raw prompt is an arm like any other.

    Raises UsageError when the budget cannot hold what the method needs at least, EngineError when the engine is gone.
    `Spent` does not leave a searcher: what was found by then is returned.
    """

    def __call__(self, spec: PromptSpec, field: Field, meter: Meter) -> Found:
        """Search."""
        ...
