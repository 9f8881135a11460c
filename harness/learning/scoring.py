"""Scoring for trainings: answers of a model in training get the scores that evaluation would give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness import metrics
from harness.evaluate import TaskSpec
from harness.records import Item


class TaskScorer:
    """A `Scorer` by the task's first metric."""

    def __init__(self, task: TaskSpec, train: Sequence[Item], dev: Sequence[Item]) -> None:
        self._metric = task.metric
        self._items = {"train": train, "dev": dev}

    def __call__(self, split: Literal["train", "dev"], answers: Sequence[tuple[int, str]]) -> list[float | None]:
        """See `harness.trainers.Scorer`."""
        return [self._score(self._items[split][index], text) for index, text in answers]

    def _score(self, item: Item, text: str) -> float | None:
        asked = item.messages[-1].content if item.messages else item.text or ""
        return metrics.score(self._metric, text, item.target, asked).value
