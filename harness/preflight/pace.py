"""How fast this model was on this kind of machine, as earlier experiments in the store measured it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness import machine
from harness.errors import HarnessError
from harness.evaluate import TASK_SUITE
from harness.money import Span
from harness.records import Provenance, RunRecord, TrainingRecord
from harness.spec import Experiment
from harness.store import ExperimentStore, Store

MOST: Final = 5
"""Earlier experiments that are looked at, the newest first."""


@dataclass(frozen=True, slots=True)
class Pace:
    """One speed, or how many tokens, with the range that was seen."""

    span: Span | None
    source: str
    """What it rests on, or why it is not known."""


class Measured:
    """Earlier experiments of the same model on such a machine; each is read once."""

    def __init__(self, experiment: Experiment, store: Store) -> None:
        self._spec = experiment.spec
        self._here = list(_like(experiment, store))
        self._runs = [run for folder in self._here for run in _runs(folder)]

    def answer(self) -> Pace:
        """Seconds of this machine an answer takes."""
        seen = [run.machine_s / run.n for run in self._runs if run.machine_s and run.n]
        return self._of(seen, "runs", self._spec.budget.answer_s, "budget.answer_s")

    def step(self) -> Pace:
        """Seconds an optimizer step takes with this method, looks at dev included, scaled to the batch of this spec."""
        seen = []
        for folder in self._here:
            training = _read(folder)
            if training is None or training.method != self._spec.train.method:
                continue
            rows = training.arguments.get("batch_size")
            if isinstance(rows, int) and rows:
                scale = self._spec.train.batch_size / rows
                seen += [scale * one.seconds / one.steps for one in training.seeds if one.steps and not one.resumed]
        return self._of(seen, "trainings", self._spec.budget.step_s, "budget.step_s")

    def tokens(self) -> tuple[Pace, Pace]:
        """Prompt and generated tokens an answer to the task takes."""
        task = [run for run in self._runs if run.suite == TASK_SUITE and run.n]
        read = [run.tokens_in / run.n for run in task if run.tokens_in]
        written = [run.tokens_out / run.n for run in task if run.tokens_out is not None and run.tokens_in]
        return self._of(read, "runs", None, ""), self._of(written, "runs", None, "")

    def _of(self, seen: list[float], what: str, stated: tuple[float, float] | None, key: str) -> Pace:
        if seen:
            source = f"measured: {len(seen)} {what} of this model on such a machine"
            return Pace(Span(sum(seen) / len(seen), min(seen), max(seen)), source)
        if stated is not None:
            return Pace(Span(sum(stated) / 2, *stated), f"stated in {key}")
        hint = f"; {key} states it" if key else ""
        return Pace(None, f"not known: no earlier {what} of this model on such a machine in the store{hint}")


def _like(experiment: Experiment, store: Store) -> Iterator[ExperimentStore]:
    """Experiments of the model on such a machine: the same GPUs, or without any as many cores."""
    gpus, found = machine.gpus(), 0
    for folder in store.experiments():
        try:
            made = folder.read(Provenance)
        except HarnessError:  # a damaged folder is told by `harness ls`; here it is only no evidence
            continue
        if made is None or made.model.name != experiment.spec.model or made.gpus != gpus:
            continue
        if made.platform != machine.system() or (not gpus and made.cpus != machine.cpus()):
            continue
        yield folder
        found += 1
        if found == MOST:
            return


def _runs(folder: ExperimentStore) -> list[RunRecord]:
    try:
        return folder.runs()
    except HarnessError:
        return []


def _read(folder: ExperimentStore) -> TrainingRecord | None:
    try:
        return folder.read(TrainingRecord)
    except HarnessError:
        return None
