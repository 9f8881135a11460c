"""Preflight: what an experiment will do and what its gates can decide, before any model is touched."""

from __future__ import annotations

import math

from harness import data, machine
from harness.engines import Choice, choose
from harness.errors import EngineError
from harness.evaluate import TASK_SUITE
from harness.gates import Forecast, forecast
from harness.records import DataRecord, Record
from harness.spec import Experiment

DISCORDANCE = 0.10
"""Share of items on which just one side is right, assumed where nothing was measured yet."""


class Work(Record):
    """How much there is to do."""

    prompt_race_calls: int
    """Model calls that the prompt race may make."""
    dev_calls: int
    """Answers on the dev split, to pick among several seeds."""
    task_calls: int
    """Answers on the test split, over raw prompt, best prompt and tuned candidate."""
    suite_calls: int
    """Answers on further suites, over base and tuned candidate."""
    training_steps: int
    """Optimizer steps over all seeds."""


class Preflight(Record):
    """What `harness check` tells."""

    experiment: str
    """Id that the experiment will have."""
    model: str
    """Base model as spelled."""
    data: DataRecord
    """Splits, fingerprints and findings."""
    suites: dict[str, int]
    """Items per suite."""
    engine: str
    """Which engine will serve here, and why; or why none can."""
    device: str
    """Where it will train."""
    work: Work
    """How much there is to do."""
    gates: tuple[Forecast, ...]
    """What each gate can decide."""


def check(experiment: Experiment) -> Preflight:
    """Everything that can be told without a model. The experiment is already valid when it was loaded."""
    spec = experiment.spec
    sizes = {TASK_SUITE: len(experiment.data.test.rows), **{suite.name: suite.size for suite in experiment.suites}}
    tasks = {(suite.name, task.name): len(task.items) for suite in experiment.suites for task in suite.tasks}
    try:
        choice = choose(spec.serve)
    except EngineError as fault:
        choice = Choice("none", str(fault))
    forecasts = tuple(
        forecast(
            gate,
            tasks.get((gate.suite, gate.task), sizes[gate.suite]),
            discordance=DISCORDANCE,
            hoped_gain=gate.min_delta + 0.10 if 0 < gate.min_delta <= 0.9 else None,
        )
        for gate in spec.gates
    )
    gpus = machine.gpus()
    return Preflight(
        experiment=experiment.id,
        model=spec.model,
        data=data.audit(experiment.data),
        suites=sizes,
        engine=f"{choice.name}: {choice.reason}",
        device=gpus[0] if gpus else f"CPU, {machine.cpus()} cores",
        work=_work(experiment),
        gates=forecasts,
    )


def _work(experiment: Experiment) -> Work:
    spec, train = experiment.spec, experiment.spec.train
    steps = max(1, math.ceil(train.epochs * math.ceil(len(experiment.data.train.rows) / train.batch_size)))
    return Work(
        dev_calls=len(train.seeds) * len(experiment.data.dev.rows) if len(train.seeds) > 1 else 0,
        prompt_race_calls=spec.prompt.budget if spec.prompt.search != "none" else 0,
        task_calls=3 * len(experiment.data.test.rows),
        suite_calls=2 * sum(suite.size for suite in experiment.suites),
        training_steps=len(train.seeds) * (min(steps, train.max_steps) if train.max_steps else steps),
    )
