"""What can be said of a prompt spec before any model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.chat import demonstration
from harness.errors import Problem
from harness.prompts.spec import PromptSpec
from harness.records import Item, Message


def least_budget(spec: PromptSpec, dev_items: int) -> int:
    """Model calls that any search needs: one prompt on all dev items, and the instruction variants to be written."""
    optimiser = 2 if spec.search in ("gepa", "dspy") else 1
    return optimiser * dev_items + (spec.proposals.count if spec.proposals is not None else 0)


def budget_problems(spec: PromptSpec, dev_items: int) -> Iterator[Problem]:
    """A budget in calls that cannot hold what the search needs at least; for one in tokens see `fitting`."""
    least = least_budget(spec, dev_items)
    if spec.search == "none" or spec.budget.unit != "calls" or spec.budget.amount >= least:
        return
    written = f" and write {spec.proposals.count} instructions" if spec.proposals is not None else ""
    prompts = "one prompt" if spec.search == "race" else "the raw prompt and one other"
    what = f"{spec.budget.amount} calls cannot score {prompts} on the {dev_items} dev items{written}"
    yield Problem("prompt.budget", what, next=f"Give at least {least}, or use fewer dev rows with data.limit")


def typical_demonstrations(train: Sequence[Item], shots: int) -> tuple[Message, ...]:
    """The turns of `shots` worked examples of median length: for counting whether they fit the model's context."""
    by_length = sorted((demonstration(item) for item in train), key=lambda turns: sum(len(t.content) for t in turns))
    if not by_length:
        return ()
    return by_length[len(by_length) // 2] * shots
