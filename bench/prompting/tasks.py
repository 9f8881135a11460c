"""The tasks on which ways of searching a prompt are compared, and which of their rows each cell sees."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from harness.data import DataSpec, Split, load
from harness.evaluate import TaskSpec
from harness.records import Item

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "tasks"
"""Where the tasks' folders are: beside the project, unless the command line names another place."""
LABEL = TaskSpec(metric="exact_match", max_tokens=16)
JSON = TaskSpec(metric="json_leaf_f1", metrics=("json_match", "json_field_f1"), max_tokens=96)
"""A small model gets next to none of these objects wholly right (seen on dev), so partial credit is what tells prompts
apart; the share of wholly right ones is reported beside it."""

TASKS: dict[str, TaskSpec] = {
    "banking12_intent": LABEL,
    "hwu64_scenario": LABEL,
    "sms_spam": LABEL,
    "snips_slots": JSON,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """What one cell sees of a task."""

    instruction: str
    train: Split
    dev: Split
    """As many rows as the command line says, drawn by the seed: another seed meets another dev set."""
    test: tuple[Item, ...]
    """The same rows for every method and seed: differences are paired."""


def rows(name: str, folder: Path, dev: int, test: int, seed: int) -> Rows:
    """The rows of one task."""
    data = load(DataSpec(train="train.jsonl", dev="validation.jsonl", test="test.jsonl"), folder / name)
    kept = random.Random(f"dev {seed}").sample(data.dev.rows, min(dev, len(data.dev.rows)))
    judged = data.test.unseal().items
    return Rows(
        data.instruction,
        data.train,
        Split("dev", data.dev.file, tuple(kept)),
        tuple(random.Random("test").sample(judged, min(test, len(judged)))),
    )


def missing(names: list[str], folder: Path) -> list[str]:
    """Tasks whose rows are not there."""
    return [name for name in names if not (folder / name / "test.jsonl").exists()]
