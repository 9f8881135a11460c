"""Learning curves told to trackers (`train.report_to`) through the callbacks that TRL's `report_to` names.

Each tracker has a thread of its own: a training never waits for one. One that cannot be begun with ends the training
before its first step; one that fails later is left alone with a note. What was told is remembered beside the
checkpoints, so that a killed training goes on in the same run, tells what it was behind with and no step twice, and a
training that is taken over is told once under each name.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from harness.errors import HarnessError, Problem
from harness.models import quiet
from harness.progress import Progress
from harness.records import DevPoint, SeedTraining
from harness.store import write_file
from harness.trainers.base import Job, Origin
from harness.trainers.setup import arguments
from harness.trainers.trackers import TRACKERS, Curve

BEGIN_S: Final = 180.0
"""Seconds that a tracker has for making a run; wandb itself gives up after some 100."""
END_S: Final = 60.0
"""Seconds that it has for taking what is left when training has ended."""
MOST: Final = 400
"""Characters of what a tracker says that are shown."""
SECRET_LENGTH: Final = 6
"""Characters from which the value of a variable with a secret's name is taken for one."""
LOSS, DEV, SUMMARY = "loss", "dev", "summary"
"""Kinds of points, each told up to some step."""


class Reporter:
    """The trackers of one training."""

    def __init__(self, callbacks: Mapping[str, Any], args: Any, job: Job, folder: Path, progress: Progress) -> None:
        """callbacks: name in `TRACKERS` to transformers' callback. args: transformers' arguments of the training."""
        told = {"experiment": job.experiment, "seed": job.seed, "training": folder.name, "model": job.model.ref.name}
        facts = {f"harness/{name}": value for name, value in {**told, **job.spec.arguments}.items()}
        curve = Curve(args.run_name, args.project, facts)
        self._who, self._progress = f"seed {job.seed}", progress
        self._tellers = [_Teller(name, callback, args, curve, folder) for name, callback in callbacks.items()]

    def begin(self, state: Any, control: Any, model: Any, *, once: bool = False) -> None:
        """Make the runs, or go on with those of an earlier sitting. Raises HarnessError for all that cannot be.

        once: leave those alone that were told of the whole training before.
        """
        for teller in self._tellers:
            teller.begin(copy.copy(state), control, model, once)
        problems, ready, late = [], [], self._late(BEGIN_S)
        for teller in self._tellers:
            if teller in late:
                problems.append(teller.problem(f"has not answered for {BEGIN_S:.0f} seconds"))
            elif teller.fault is not None:
                problems.append(teller.problem(f"cannot be told: {clean(teller.fault)}"))
            elif not teller.knows_all:
                ready.append(teller)
        self._tellers = ready
        if problems:
            raise HarnessError(problems)
        for teller in ready:
            self._progress.note(f"{self._who}: told to {teller.name} as {teller.run}, in {clean(teller.place)}")

    def log(self, state: Any, logs: Mapping[str, Any]) -> None:
        """Tell a point of TRL's own log."""
        self._tell(LOSS if "loss" in logs else SUMMARY, state, dict(logs))

    def catch_up(self, state: Any) -> None:
        """Tell what the log of an earlier sitting has and a tracker was behind with when the process was killed."""
        for point in state.log_history:
            logs = {name: value for name, value in point.items() if name != "step"}
            self.log(_at(point["step"], state), logs)

    def looked(self, state: Any, point: DevPoint) -> None:
        """Tell a look at dev: its score by the task's first metric, and its loss."""
        told = {"eval_score": point.score, "eval_loss": point.loss}
        self._tell(DEV, _at(point.step, state), {name: value for name, value in told.items() if value is not None})

    def end(self, failed: bool) -> None:
        """Close the runs. A tracker that does not take what is left is not waited for much longer."""
        for teller in self._tellers:
            teller.end(failed)
        for teller in self._late(END_S):
            what = f"has not taken everything within {END_S:.0f} seconds, and is not waited for"
            self._progress.note(f"{self._who}: {teller.name} {what}")
        self._note_faults()

    def _late(self, seconds: float) -> list[_Teller]:
        """Those that have not done, or failed, all that they were asked for within so many seconds for all of them."""
        until = time.monotonic() + seconds
        asked = [(teller, teller.done()) for teller in self._tellers]
        return [teller for teller, done in asked if not done.wait(max(0.0, until - time.monotonic()))]

    def _tell(self, kind: str, state: Any, logs: dict[str, Any]) -> None:
        for teller in self._tellers:
            teller.log(kind, copy.copy(state), dict(logs))
        self._note_faults()

    def _note_faults(self) -> None:
        for teller in self._tellers:
            if teller.fault is not None and not teller.noted:
                teller.noted = True
                what = f"failed, and is told no more: {clean(teller.fault)}"
                self._progress.note(f"{self._who}: {teller.name} {what}; the training does not need it")


class _Teller:
    """One tracker, in a thread of its own, which dies with the process."""

    def __init__(self, name: str, callback: Any, args: Any, curve: Curve, folder: Path) -> None:
        self.name = name
        self.run = curve.name
        self.fault: Exception | None = None
        self.noted = False
        self.knows_all = False
        self.place = ""
        self._tracker, self._callback, self._args, self._curve = TRACKERS[name], callback, copy.copy(args), curve
        self._folder = folder
        self._memory: dict[str, Any] = {}
        self._control: Any = None
        self._model: Any = None
        self._work: queue.SimpleQueue[Callable[[], None] | threading.Event] = queue.SimpleQueue()
        threading.Thread(target=self._go, daemon=True, name=f"report to {name}").start()

    def begin(self, state: Any, control: Any, model: Any, once: bool) -> None:
        self._control, self._model = control, model

        def work() -> None:
            self.place = self._tracker.place()
            self._memory = self._read()
            whole = bool(self._memory.get("whole"))
            if whole and once:
                self.knows_all = True
                return
            earlier = None if whole else self._memory.get("run")
            run = self._tracker.begin(self._callback, self._args, self._curve, earlier)
            self._callback.on_train_begin(self._args, state, control, model=model)
            self._tracker.begun(self._callback, self._curve)
            if earlier is None:
                self._memory = {"run": run, "whole": False}
            self.run = self._args.run_name
            self._keep()

        self._work.put(work)

    def log(self, kind: str, state: Any, logs: dict[str, Any]) -> None:
        def work() -> None:
            if state.global_step <= self._memory.get(kind, -1):
                return  # told before a kill, after the checkpoint that the training goes on from
            self._memory[kind] = state.global_step
            self._keep()  # first: a kill in between costs a point, the other way round it would come twice
            self._callback.on_log(self._args, state, self._control, logs=logs, model=self._model)

        self._work.put(work)

    def end(self, failed: bool) -> None:
        def tell(event: str) -> None:
            from transformers import TrainerState

            getattr(self._callback, event)(self._args, TrainerState(), self._control, model=self._model)

        def work() -> None:
            if "run" not in self._memory:
                return  # training ended before it began
            self._tracker.end(self._callback, tell, failed)
            self._memory["whole"] = not failed
            self._keep()

        self._work.put(work)

    def done(self) -> threading.Event:
        """What is set when all that was asked for so far is done, or failed."""
        done = threading.Event()
        self._work.put(done)
        return done

    def problem(self, what: str) -> Problem:
        """What to say of a tracker that cannot be begun with."""
        hint = f"{self._tracker.hint}; or leave {self.name} out, which makes no other experiment"
        return Problem(f"train.report_to: {self.name}", what, next=hint)

    def _go(self) -> None:
        while True:
            work = self._work.get()
            if isinstance(work, threading.Event):
                work.set()
            elif self.fault is None:
                try:
                    work()
                except Exception as fault:  # whatever it is, it is the tracker's and not the training's
                    self.fault = fault

    @property
    def _file(self) -> Path:
        key = hashlib.sha256(f"{self._curve.name}\0{self.place}".encode()).hexdigest()
        return self._folder / "told" / f"{self.name}-{key[:16]}.json"

    def _read(self) -> dict[str, Any]:
        return dict(json.loads(self._file.read_text(encoding="utf-8"))) if self._file.exists() else {}

    def _keep(self) -> None:
        write_file(self._file, json.dumps(self._memory))


@contextmanager
def reporting(trainer: Any, job: Job, folder: Path, progress: Progress) -> Iterator[Reporter]:
    """The trackers of a trainer: its own callbacks for them are taken off it and told by a `Reporter`, first of all."""
    from transformers import TrainerCallback
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    found: dict[str, Any] = {name: trainer.pop_callback(INTEGRATION_TO_CALLBACK[name]) for name in job.spec.report_to}
    reporter = Reporter(found, trainer.args, job, folder, progress)

    class Telling(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            reporter.begin(state, control, model)
            reporter.catch_up(state)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            reporter.log(state, logs or {})

    trainer.add_callback(Telling())
    try:
        yield reporter
    except BaseException:
        reporter.end(failed=True)
        raise
    reporter.end(failed=False)


def tell_taken_over(done: SeedTraining, job: Job, on: Origin, folder: Path, progress: Progress) -> None:
    """A training that was done before, told off its record to trackers that have not been told of it under this name.

    What cannot be told is noted: there is no training to hold up.
    """
    if not job.spec.report_to:
        return
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    known = {field.name for field in fields(TrainingArguments)}
    given = arguments(job, max(1, len(job.rows)), on, folder) | job.spec.args
    with quiet():
        args = TrainingArguments(**{name: value for name, value in given.items() if name in known})
        callbacks: dict[str, Any] = {name: INTEGRATION_TO_CALLBACK[name]() for name in job.spec.report_to}
        reporter = Reporter(callbacks, args, job, folder, progress)
        try:
            reporter.begin(TrainerState(max_steps=done.steps), TrainerControl(), None, once=True)
        except HarnessError as fault:
            progress.note(f"seed {job.seed}: the training that is taken over is not told everywhere. {fault}")
        for step, point in _points(done):
            state = TrainerState(global_step=step, max_steps=done.steps)
            if isinstance(point, DevPoint):
                reporter.looked(state, point)
            else:
                reporter.log(state, point)
        reporter.end(failed=False)


def _at(step: int, state: Any) -> Any:
    """The state, as of an earlier step."""
    state = copy.copy(state)
    state.global_step = step
    return state


def _points(done: SeedTraining) -> Sequence[tuple[int, DevPoint | dict[str, float]]]:
    """Everything that a record has of its curves, by step, as it was logged."""
    logged: dict[int, dict[str, float]] = {}
    for point in done.curve:
        rate = {} if point.learning_rate is None else {"learning_rate": point.learning_rate}
        logged[point.step] = {"loss": point.loss, **rate}
    for name, points in done.curves.items():
        for one in points:
            logged.setdefault(one.step, {})[name] = one.value
    return sorted([*logged.items(), *((look.step, look) for look in done.dev)], key=lambda told: told[0])


def clean(told: object) -> str:
    """A tracker's words in a line, without what they may hold of addresses' passwords, tokens and keys."""
    text = " ".join(str(told).split()) or type(told).__name__
    text = re.sub(r"://[^/@\s]*@", "://…@", text)
    text = re.sub(r"(?i)((?:token|key|password|secret)=)[^&\s'\"]+", r"\1…", text)
    for name, value in os.environ.items():
        if len(value) >= SECRET_LENGTH and re.search(r"(?i)token|key|password|secret", name):
            text = text.replace(value, "…")
    return text[:MOST]
