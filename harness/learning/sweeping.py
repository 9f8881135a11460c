"""A search over fields of `train` by the dev score alone, with optuna: stopped, resumed and shared at will.

Trials lie in a journal file in the experiment's folder. Whoever opens it takes the next one: this process, or another
that helps. A trial is held by a lock that dies with its process; one that nobody holds is gone on with, from its last
checkpoint. What is drawn hangs on the trials before and the sweep's seed, not on how often it was interrupted.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from harness import artifacts, trainers
from harness.errors import Problem, TrainingError
from harness.learning.ground import Ground
from harness.progress import Progress
from harness.records import AdapterRef, DevPoint, SeedTraining, Supervision, SweepRecord, TrialRecord
from harness.trainers import Answered, Job, Scorer, TrainSpec, forecast, searching
from harness.trainers.order import rows_an_epoch
from harness.trainers.parts import SweepSpec
from harness.trainers.setup import steps_of

JOURNAL: Final = "sweep"
STAGES: Final = 10
"""Parts of a training; trials are compared at the same part, for their steps may differ."""
WAIT_S: Final = 1.0
"""How often it is seen whether another worker has finished its trial."""

Planned = Callable[[TrainSpec], tuple[Job, Scorer]]
"""A trial's spec to its job and who scores it."""
Training = Callable[[Job, Progress, Scorer], tuple[SeedTraining, Supervision]]
"""`harness.trainers.train`, or another that trains."""


def search(spec: TrainSpec, ground: Ground, planned: Planned) -> SweepRecord:
    """Train every trial, once: an earlier record is returned as it is.

    Raises TrainingError when no trial came to a score.
    """
    record = ground.folder.read(SweepRecord)
    if record is not None:
        return record
    sweep = Sweep(spec, ground, planned)
    sweep.work()
    record = sweep.record()
    ground.folder.write(record)
    return record


class Sweep:
    """The trials of one experiment."""

    def __init__(self, spec: TrainSpec, ground: Ground, planned: Planned, train: Training = trainers.train) -> None:
        assert spec.sweep is not None  # noqa: S101  callers looked
        self._spec = spec
        self._sweep: SweepSpec = spec.sweep
        self._ground = ground
        self._planned = planned
        self._trained_by = train
        self._lock = f"sweep-{ground.folder.id}"
        path = ground.folder.journal_path(JOURNAL)
        with artifacts.lock(self._lock):
            self._study = _study(path, self._sweep)

    def work(self) -> None:
        """Take trials until there is none left, those of others waited for."""
        self._ground.progress.stage("sweep")
        while self.work_once() or self._running():
            pass

    def work_once(self) -> bool:
        """Take one trial to its end; False, after a moment, where there is none to take."""
        with ExitStack() as held:
            trial = self._next(held)
            if trial is not None:
                self._train(trial)
                return True
        if self._running():  # another worker's
            time.sleep(WAIT_S)
        return False

    def _next(self, held: ExitStack) -> Any:
        """A trial that nobody has, and its lock: one that was left, or a new one. None when there is neither."""
        import optuna

        with artifacts.lock(self._lock):
            for left in self._running():
                if held.enter_context(self._held(left.number)):
                    return optuna.trial.Trial(self._study, left._trial_id)
            if not self._room():
                return None
            trial = self._ask()
            held.enter_context(self._held(trial.number))
            return trial

    def _held(self, number: int) -> AbstractContextManager[bool]:
        return artifacts.lock_if_free(f"{self._lock}-{number}")

    def _running(self) -> list[Any]:
        from optuna.trial import TrialState

        return self._trials(TrialState.RUNNING)

    def _trials(self, *states: Any) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False, states=states or None))

    def _room(self) -> bool:
        from optuna.trial import TrialState

        spent = sum(trial.user_attrs.get("seconds", 0.0) for trial in self._trials())
        if self._sweep.hours is not None and spent >= 3600 * self._sweep.hours:
            return False
        if grid(self._sweep) is not None:
            return bool(self._trials(TrialState.WAITING))
        return len(self._trials()) < self._sweep.trials

    def _ask(self) -> Any:
        import optuna

        begun = len(self._trials())
        seed, at_random = self._sweep.seed * 10_007 + begun, min(10, max(3, self._sweep.trials // 4))
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=at_random)
        return self._study.ask()

    def _train(self, trial: Any) -> None:
        """One trial to its end; what stops the harness itself leaves it to be gone on with."""
        import optuna

        fields = {name: _drawn(trial, name, form) for name, form in self._sweep.fields.items()}
        told = f"trial {trial.number} ({shown(fields)})"
        started = time.monotonic()

        def end(state: Any, value: float | None = None, reason: str = "", seconds: float | None = None) -> None:
            took = time.monotonic() - started if seconds is None else seconds
            trial.set_user_attr("seconds", round(took, 1))
            trial.set_user_attr("reason", reason)
            self._study.tell(trial, value, state=state)
            score = f"failed: {reason}" if state == optuna.trial.TrialState.FAIL else reason or f"{value:.3f} on dev"
            self._ground.progress.note(f"{told}: {score}")

        try:
            job, scorer = self._planned(searching.changed(self._spec, fields))
            job = replace(job, experiment=f"{job.experiment}-trial{trial.number}")
            steps = steps_of(job.spec, rows_an_epoch(job))
            watched = _Watched(scorer, trial, steps, self._sweep.prune)
            training, _ = self._made(job, watched)
        except optuna.TrialPruned as stopped:
            end(optuna.trial.TrialState.PRUNED, reason=str(stopped))
        except (TrainingError, ValidationError) as fault:
            end(optuna.trial.TrialState.FAIL, reason=str(fault))
        else:
            trial.set_user_attr("curve", [point.model_dump() for point in training.dev])
            trial.set_user_attr("adapter", training.adapter.model_dump())
            scores = [point.score for point in training.dev if point.step == training.chosen_step]
            if scores and scores[0] is not None:
                end(optuna.trial.TrialState.COMPLETE, scores[0], seconds=training.seconds)
            else:
                end(optuna.trial.TrialState.FAIL, reason="no look at dev has a score")

    def _made(self, job: Job, scorer: Scorer) -> tuple[SeedTraining, Supervision]:
        try:
            return self._trained_by(job, self._ground.progress, scorer)
        except TrainingError as fault:
            raise forecast.after_running_out(fault, job) from fault

    def record(self) -> SweepRecord:
        """All trials, and the fields of the best: the first of equals. Raises TrainingError when none has a score."""
        states: dict[str, Literal["complete", "pruned", "failed"]] = {
            "COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed",
        }  # fmt: skip
        trials = tuple(_told(trial, states[trial.state.name]) for trial in self._trials() if trial.state.name in states)
        whole = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
        if not whole:
            reasons = "; ".join(f"trial {trial.number}: {trial.reason.rstrip('.')}" for trial in trials if trial.reason)
            journal = self._ground.folder.journal_path(JOURNAL)
            hint = f"Change train, which makes another experiment, or delete {journal} to try all of them again"
            raise TrainingError(Problem("train.sweep", f"no trial came to a score: {reasons}", next=hint))
        best = max(whole, key=lambda trial: (trial.score or 0.0, -trial.number))
        return SweepRecord(
            fields=self._sweep.fields,
            trials=trials,
            best=best.fields,
            seconds=round(sum(trial.seconds for trial in trials), 1),
        )


class _Watched:
    """A scorer that tells its trial of each look, and ends one that does worse than the median of the others."""

    def __init__(self, scorer: Scorer, trial: Any, steps: int, prune: bool) -> None:
        self._scorer, self._trial, self._steps, self._prune = scorer, trial, steps, prune
        self._curve: list[dict[str, Any]] = list(trial.user_attrs.get("curve", []))

    def __call__(self, split: Literal["train", "dev"], answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
        return self._scorer(split, answers)

    def looked(self, point: DevPoint) -> None:
        """See `harness.trainers.base.looked`; a look that was told before a kill may come again."""
        import optuna

        if all(one["step"] != point.step for one in self._curve):
            self._curve.append(point.model_dump())
            self._trial.set_user_attr("curve", self._curve)
        stage = round(STAGES * point.step / self._steps)
        if point.score is None or not stage:
            return
        stored = self._trial.study.get_trials(deepcopy=False)[self._trial.number].intermediate_values
        if stage not in stored:
            self._trial.report(point.score, stage)
        if self._prune and point.step < self._steps and self._trial.should_prune():
            told = f"{point.score:.3f} at step {point.step} of {self._steps}"
            raise optuna.TrialPruned(f"stopped: {told} is below the median of other trials")


def _study(path: Path, sweep: SweepSpec) -> Any:
    """The study in a journal file; a new one has its grid in it, where all values are listed and fit the trials."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4) if sweep.prune else optuna.pruners.NopPruner()
    study = optuna.create_study(
        storage=JournalStorage(backend), study_name=JOURNAL, direction="maximize", pruner=pruner, load_if_exists=True
    )
    if not study.get_trials(deepcopy=False):
        for one in grid(sweep) or ():
            study.enqueue_trial({name: _coded(value) for name, value in one.items()})
    return study


def grid(sweep: SweepSpec) -> list[dict[str, Any]] | None:
    """Every combination in the sweep's order, where all values are listed and they fit its trials; else None."""
    if not all(isinstance(form, list) for form in sweep.fields.values()):
        return None
    every = [dict(zip(sweep.fields, values, strict=True)) for values in itertools.product(*sweep.fields.values())]
    return random.Random(sweep.seed).sample(every, len(every)) if len(every) <= sweep.trials else None


def _drawn(trial: Any, name: str, form: Any) -> Any:
    """A field's value in a trial; one that was drawn stays."""
    if isinstance(form, list):
        return json.loads(trial.suggest_categorical(name, [_coded(value) for value in form]))
    kind, (low, high) = next(iter(form.items()))
    if kind == "int":
        return trial.suggest_int(name, low, high)
    return trial.suggest_float(name, low, high, log=kind == "log")


def _coded(value: Any) -> str:
    """optuna's categories are plain values; a list of layers is not."""
    return json.dumps(value)


def _told(trial: Any, state: Literal["complete", "pruned", "failed"]) -> TrialRecord:
    listed = {name for name, kind in trial.distributions.items() if hasattr(kind, "choices")}
    curve = tuple(DevPoint.model_validate(point) for point in trial.user_attrs.get("curve", []))
    known = [point.score for point in curve if point.step and point.score is not None]
    score = trial.value if state == "complete" else max(known, default=None)
    return TrialRecord(
        number=trial.number,
        fields={name: json.loads(value) if name in listed else value for name, value in trial.params.items()},
        score=None if state == "failed" else score,
        state=state,
        steps=max((point.step for point in curve), default=0),
        seconds=trial.user_attrs.get("seconds", 0.0),
        reason=trial.user_attrs.get("reason", ""),
        curve=curve,
        adapter=AdapterRef.model_validate(made) if (made := trial.user_attrs.get("adapter")) else None,
    )


def shown(fields: Mapping[str, Any]) -> str:
    """Fields in a line."""
    parts = (f"{value:.3g}" if isinstance(value, float) else value for value in fields.values())
    return ", ".join(f"{name} {value}" for name, value in zip(fields, parts, strict=True))
