"""Class imbalance: what each row weighs by how rare its gold answer is, and rows drawn as often for every answer.

A row whose answer stands in n_c of n rows, of k different answers, weighs n / (k n_c): inversely to its frequency,
with mean 1 over the rows (the `balanced` weights of scikit-learn, after King and Zeng 2001, "Logistic regression in
rare events data").
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence

from harness.errors import Problem, TrainingError
from harness.records import Item

SHOWN = 12
"""Answers whose weights are told."""


def classes(items: Sequence[Item]) -> list[str]:
    """The class of each row: its gold answer.

    Raises TrainingError where answers are no classes: nearly every row has its own.
    """
    answers = [item.target.strip() for item in items]
    if len(set(answers)) > len(answers) / 2:
        what = f"{len(set(answers))} different gold answers in {len(answers)} rows are no classes"
        raise TrainingError(Problem("train.balance", what, next="Leave it out: it is for tasks with a few answers"))
    return answers


def weights(items: Sequence[Item]) -> list[float]:
    """One weight a row, of mean 1. Raises TrainingError where answers are no classes."""
    answers = classes(items)
    counts = Counter(answers)
    return [len(answers) / (len(counts) * counts[answer]) for answer in answers]


def resampled(items: Sequence[Item], draws: random.Random) -> Iterator[int]:
    """Indices of rows without end: every answer equally often, its rows in turn.

    In each stretch of as many rows as there are answers, every answer comes once. Raises TrainingError where answers
    are no classes.
    """
    rows: dict[str, list[int]] = {}
    for at, answer in enumerate(classes(items)):
        rows.setdefault(answer, []).append(at)
    streams = [cycled(rows[answer], draws) for answer in sorted(rows)]
    while True:
        for stream in draws.sample(streams, len(streams)):
            yield next(stream)


def cycled(rows: Sequence[int], draws: random.Random) -> Iterator[int]:
    """The rows in random order, again and again: each once before any comes again."""
    while True:
        yield from draws.sample(rows, len(rows))


def told(balance: str, items: Sequence[Item]) -> str:
    """One sentence on what is done, with the weights of the most frequent answers."""
    counts = Counter(classes(items))
    weight = {answer: len(items) / (len(counts) * count) for answer, count in counts.items()}
    listed = ", ".join(f"{answer!r} {weight[answer]:.2f} ({count} rows)" for answer, count in counts.most_common(SHOWN))
    more = "" if len(counts) <= SHOWN else f" and {len(counts) - SHOWN} more"
    if balance == "resample":
        return f"Every one of {len(counts)} answers is drawn equally often: {listed}{more}, as times its share."
    return f"The loss of a row is weighted inversely to the frequency of its answer, with mean 1: {listed}{more}."
