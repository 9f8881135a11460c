"""General rows among the task's, against forgetting: read from a file, without the task's instruction."""

from __future__ import annotations

from harness import data
from harness.errors import Problem, TrainingError
from harness.learning.ground import Ground
from harness.records import Item
from harness.trainers.parts import ReplaySpec


def general_rows(spec: ReplaySpec, ground: Ground) -> tuple[tuple[Item, ...], str]:
    """The rows of the file, and a sentence on their part in the training. Raises DataError, TrainingError."""
    items = data.load_items(spec.file, ground.near, "")
    if any(item.choices is not None for item in items):
        raise TrainingError(Problem(f"train.replay.file {spec.file}", "holds rows without an answer to learn"))
    how = f"with a KL divergence from the base model of weight {spec.kl:g}" if spec.kl else "plainly"
    return items, (
        f"{spec.ratio:.0%} of the rows in training are general ones, drawn from {len(items)} in {spec.file} and "
        f"learned {how}."
    )
