"""Learning: from the task's train and dev rows to trained candidates, one a seed.

    ground      what a training stands on
    gathering   what is learned from: the train split, or what teacher, judge and general rows make of it
    teaching, feedback, replaying   each of them; asking: their answers, durable as they come
    preferring, starting            pairs that the data hold; the adapter to go on from
    rows        one job a seed
    sweeping    a search over the arguments first, by dev
    scoring     answers of a model in training, scored as evaluation scores them

It is handed train and dev, never the test split.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import trainers
from harness.errors import Problem, TrainingError
from harness.learning.gathering import Gathered, completed, gather, prompt_of
from harness.learning.ground import Ground
from harness.learning.rows import jobs
from harness.learning.scoring import TaskScorer
from harness.learning.sweeping import JOURNAL, Planned, Sweep, search
from harness.progress import Progress
from harness.records import MemoryForecast, Prompt, SeedTraining, Supervision, TrainingRecord
from harness.trainers import Job, Scorer, TrainSpec, forecast, searching

__all__ = ["Ground", "help_sweep", "learn"]


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
    before()
    if spec.sweep is not None:
        spec = searching.changed(spec, search(spec, ground, _trials(spec.sweep.seed, found, prompt, ground)).best)
    asked = _planned(spec, found, prompt, ground)
    told = _foreseen(asked[0], ground)
    scorer = TaskScorer(ground.task, asked[0].rows, asked[0].dev)
    results = [_trained(job, ground.progress, scorer) for job in asked]
    record = TrainingRecord(
        method=spec.method,
        prompt=prompt,
        arguments=spec.arguments,
        device=results[0][0].device or "unknown",
        supervision=results[0][1],
        seeds=tuple(result[0] for result in results),
        learned_from=found.told,
        forecast=told,
        cost=_cost([seed for seed, _ in results], gpu_hour_price),
    )
    ground.folder.write(record)
    return record


def _cost(seeds: list[SeedTraining], gpu_hour_price: float | None) -> float | None:
    """Hours times their price; of jobs at a service what they cost there, if that is known of all."""
    jobs = [seed.managed for seed in seeds if seed.managed is not None]
    if jobs:
        costs = [job.cost for job in jobs if job.cost is not None]
        return round(sum(costs), 4) if len(costs) == len(jobs) else None
    hours = sum(seed.seconds for seed in seeds) / 3600
    return None if gpu_hour_price is None else round(hours * gpu_hour_price, 4)


def _foreseen(job: Job, ground: Ground) -> MemoryForecast | None:
    """What a training will take. Raises TrainingError, before anything is loaded, for what surely does not fit."""
    made = forecast.of_job(job)
    if made is not None:
        ground.progress.note(f"training {forecast.told(made)}")
        forecast.refuse(made)
    return made


def _trained(job: Job, progress: Progress, scorer: Scorer) -> tuple[SeedTraining, Supervision]:
    try:
        return trainers.train(job, progress, scorer)
    except TrainingError as fault:
        raise forecast.after_running_out(fault, job) from fault


def help_sweep(spec: TrainSpec, ground: Ground) -> None:
    """Take trials of a sweep that a run has begun, until none is left; that run goes on with the best of all.

    Raises TrainingError while there is none, or where what is learned from is not made yet.
    """
    hint = "Start it first: harness run SPEC; any number of helpers may join"
    begun = ground.folder.path.is_dir() and ground.folder.journal_path(JOURNAL).exists()
    if spec.sweep is None or not begun:
        raise TrainingError(Problem("train.sweep", "there is no sweep to help with", next=hint))
    prompt = prompt_of(spec, ground)
    found = gather(spec, ground, prompt, lambda: None)
    Sweep(spec, ground, _trials(spec.sweep.seed, found, prompt, ground)).work()


def _planned(spec: TrainSpec, found: Gathered, prompt: Prompt, ground: Ground) -> tuple[Job, ...]:
    """One job a seed."""
    asked = jobs(spec, found.train, ground.dev, prompt, ground.model, ground.task.decoding, ground.near)
    return tuple(completed(job, found, ground) for job in asked)


def _trials(seed: int, found: Gathered, prompt: Prompt, ground: Ground) -> Planned:
    """How a sweep makes the job of a trial."""

    def planned(spec: TrainSpec) -> tuple[Job, TaskScorer]:
        (job,) = _planned(spec.model_copy(update={"seeds": (seed,)}), found, prompt, ground)
        return job, TaskScorer(ground.task, job.rows, job.dev)

    return planned
