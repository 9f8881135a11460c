"""Scoring for trainings: answers of a model in training get the scores that evaluation would give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness import metrics
from harness.evaluate import TaskSpec
from harness.records import Item
from harness.trainers import Answered


class TaskScorer:
    """A `Scorer` by the task's first metric."""

    def __init__(self, task: TaskSpec, train: Sequence[Item], dev: Sequence[Item]) -> None:
        self._metric = task.metric
        self._items = {"train": train, "dev": dev}

    def __call__(self, split: Literal["train", "dev"], answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
        """See `harness.trainers.Scorer`."""
        return [self._score(self._items[split][index], answer) for index, answer in answers]

    def _score(self, item: Item, answer: Answered) -> float | None:
        if not isinstance(answer, str):
            choices = item.choices or ()
            return metrics.score_choice(self._metric, answer, choices, choices.index(item.target))
        asked = item.messages[-1].content if item.messages else item.text or ""
        return metrics.score(self._metric, answer, item.target, asked).value
