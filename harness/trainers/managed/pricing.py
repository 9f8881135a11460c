"""What a job will cost, told before it is started, and what it did cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from harness.errors import Problem, TrainingError
from harness.models import token_counter
from harness.trainers.base import Job
from harness.trainers.managed.base import Look
from harness.trainers.managed.files import TRAIN, VALIDATION
from harness.trainers.parts import ManagedSpec

BYTES_A_TOKEN: Final = 3.0
"""Bytes of text that a token holds, on the careful side: of English about four, of other writing fewer tokens."""
A_TURN: Final = 6
"""Tokens around each turn."""


def tokens(job: Job, managed: ManagedSpec, folder: Path, validated: bool) -> int | None:
    """Tokens that will be trained in one job; None where the number of epochs is left to the service.

    Counted by the base model's tokenizer where its folder is here, else reckoned from the bytes of the files.
    """
    if not isinstance(managed.epochs, int | float):
        return None
    count = _counter(job)
    total = managed.epochs * count(folder / TRAIN)
    if validated and managed.service == "together":  # which bills them; see docs/training.md
        total += managed.hyperparameters["n_evals"] * count(folder / VALIDATION)
    return round(total)


def forecast(managed: ManagedSpec, counted: int | None) -> float | None:
    """Its price by the spec's own, in the currency of the budget."""
    price = managed.price_per_million_tokens
    return None if price is None or counted is None else counted / 1e6 * price


def refuse(managed: ManagedSpec, one: float | None, seeds: int, whose: str) -> None:
    """Raise TrainingError where all seeds together would cost more than the spec allows."""
    if managed.max_cost is None or one is None or one * seeds <= managed.max_cost:
        return
    each = f" ({seeds} jobs of {one:.2f})" if seeds > 1 else ""
    what = f"would cost about {one * seeds:.2f}{each} by {whose}, and train.managed.max_cost is {managed.max_cost:g}"
    raise TrainingError(Problem("train.managed", what, next="Nothing was started. Fewer rows or epochs cost less"))


def cost(managed: ManagedSpec, look: Look) -> float | None:
    """By the stated price where there is one, else the service's own figure, else not known."""
    if managed.price_per_million_tokens is not None and look.tokens is not None:
        return look.tokens / 1e6 * managed.price_per_million_tokens
    return look.cost


def _counter(job: Job) -> Callable[[Path], float]:
    """Counts the tokens of a file of rows."""
    counted = None if job.model.remote_name is not None else token_counter(job.model.path)

    def by_tokenizer(path: Path) -> float:
        assert counted is not None  # noqa: S101  for the type checker
        return sum(counted(_conversations(path)))

    return by_tokenizer if counted is not None else _by_bytes


def _by_bytes(path: Path) -> float:
    turns = [turn for conversation in _conversations(path) for turn in conversation]
    return sum(len(turn["content"].encode()) / BYTES_A_TOKEN + A_TURN for turn in turns)


def _conversations(path: Path) -> Sequence[list[dict[str, str]]]:
    """Every conversation that is trained on: a pair is two of them."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        if "messages" in row:
            found.append(row["messages"])
        else:
            asked = row["input"]["messages"]
            found += [[*asked, *row["preferred_output"]], [*asked, *row["non_preferred_output"]]]
    return found
