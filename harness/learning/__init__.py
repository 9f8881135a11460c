"""Learning: from the task's train and dev rows to trained candidates, one a seed.

    rows        which rows, pairs and general rows are learned from; the adapter to go on from
    scoring     answers of a model in training, scored as evaluation scores them

It is handed train and dev, never the test split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import trainers
from harness.data import Split
from harness.evaluate import TaskSpec
from harness.learning.rows import jobs
from harness.learning.scoring import TaskScorer
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import Prompt, TrainingRecord
from harness.store import ExperimentStore
from harness.trainers import TrainSpec

__all__ = ["Ground", "learn"]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a training stands on."""

    model: LocalModel
    """The base model."""
    task: TaskSpec
    """How the task is scored."""
    train: Split
    dev: Split
    instruction: str
    """The task's own instruction."""
    near: Path
    """Folder from which relative paths of the spec are meant."""
    folder: ExperimentStore
    progress: Progress


def learn(
    spec: TrainSpec, ground: Ground, *, gpu_hour_price: float | None, before: Callable[[], None] = lambda: None
) -> TrainingRecord:
    """Train every seed of the spec, once: an earlier record is returned as it is.

    before: called before the first training, to free memory that an engine holds.
    Raises TrainingError, SpecError.
    """
    record = ground.folder.read(TrainingRecord)
    if record is not None:
        return record
    prompt = Prompt(name="trained", instruction=ground.instruction if spec.instruction is None else spec.instruction)
    asked = jobs(spec, ground.train, ground.dev, prompt, ground.model, ground.task.decoding, ground.near)
    before()
    scorer = TaskScorer(ground.task, asked[0].rows, asked[0].dev)
    results = [trainers.train(job, ground.progress, scorer) for job in asked]
    hours = sum(seed.seconds for seed, _ in results) / 3600
    record = TrainingRecord(
        method=spec.method,
        prompt=prompt,
        arguments=spec.arguments,
        device=results[0][0].device or "unknown",
        supervision=results[0][1],
        seeds=tuple(result[0] for result in results),
        cost=None if gpu_hour_price is None else round(hours * gpu_hour_price, 4),
    )
    ground.folder.write(record)
    return record
