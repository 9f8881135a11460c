"""Learning: from the task's train and dev rows to trained candidates, one a seed.

    ground      what a training stands on
    gathering   what is learned from: the train split, or what teacher, judge and general rows make of it
    teaching, feedback, replaying   each of them; asking: their answers, durable as they come
    preferring, starting            pairs that the data hold; the adapter to go on from
    rows        one job a seed
    scoring     answers of a model in training, scored as evaluation scores them

It is handed train and dev, never the test split.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import trainers
from harness.learning.gathering import completed, gather, prompt_of
from harness.learning.ground import Ground
from harness.learning.rows import jobs
from harness.learning.scoring import TaskScorer
from harness.records import TrainingRecord
from harness.trainers import TrainSpec

__all__ = ["Ground", "learn"]


def learn(
    spec: TrainSpec, ground: Ground, *, gpu_hour_price: float | None, before: Callable[[], None] = lambda: None
) -> TrainingRecord:
    """Train every seed of the spec, once: an earlier record is returned as it is.

    before: called before the first training, to free memory that an engine holds.
    Raises TrainingError, SpecError; EngineError when a teacher or judge goes away, whose answers so far are kept.
    """
    record = ground.folder.read(TrainingRecord)
    if record is not None:
        return record
    prompt = prompt_of(spec, ground)
    found = gather(spec, ground, prompt, before)
    asked = jobs(spec, found.train, ground.dev, prompt, ground.model, ground.task.decoding, ground.near)
    asked = tuple(completed(job, found, ground) for job in asked)
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
        learned_from=found.told,
        cost=None if gpu_hour_price is None else round(hours * gpu_hour_price, 4),
    )
    ground.folder.write(record)
    return record
