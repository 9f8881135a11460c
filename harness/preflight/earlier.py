"""What runs in the store say of a comparison that is yet to be made: how many items differ, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness.compare import PRIMARY, Scored, join
from harness.errors import HarnessError
from harness.evaluate import TASK_SUITE
from harness.gates import GateSpec
from harness.records import DataRecord, RunRecord
from harness.spec import Experiment
from harness.stats import Design, observed
from harness.store import ExperimentStore, Store

MOST = 5
"""Earlier comparisons that are looked at, the newest first."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Differences seen in comparisons like the one to come."""

    design: Design
    reference_mean: float
    """Mean score of the reference."""
    source: str
    """Which comparisons, in words."""


@dataclass(frozen=True, slots=True)
class _Joined:
    differences: NDArray[np.float64]
    units: NDArray[np.intp]
    reference_mean: float


class Earlier:
    """The runs of a store that were made on the items of an experiment; each is read once."""

    def __init__(self, experiment: Experiment, store: Store) -> None:
        self._experiment = experiment
        self._own = store.at(experiment.id)
        self._folders = store.experiments()
        self._runs = cache(self._readable_runs)
        self._scored = cache(lambda folder, run_id: (folder.run(run_id), folder.samples(run_id)))

    def like(self, gate: GateSpec, slice: str | None) -> Measured | None:
        """Tuned candidates against the gate's reference on the same items, else base against best prompt."""
        found = []
        for folder in self._folders:
            found += list(self._tuned_against(folder, gate, slice))
            if len(found) >= MOST:
                break
        if found:
            count = len(found[:MOST])
            return _pooled(found[:MOST], f"{count} earlier comparison{'s' if count > 1 else ''} on this suite")
        baseline = self._pair(self._own, "base", "best_prompt", gate, slice)
        return _pooled([baseline], "base against best_prompt") if baseline else None

    def _tuned_against(self, folder: ExperimentStore, gate: GateSpec, slice: str | None) -> Iterator[_Joined]:
        for run in self._runs(folder, gate.suite):
            if run.candidate.adapter is not None:
                joined = self._pair(folder, run.candidate.name, gate.against, gate, slice)
                if joined is not None:
                    yield joined

    def _pair(
        self, folder: ExperimentStore, candidate: str, reference: str, gate: GateSpec, slice: str | None
    ) -> _Joined | None:
        """Two runs of one experiment joined; None when either is missing or they cannot be compared so."""
        names = {run.candidate.name: run.id for run in self._runs(folder, gate.suite)}
        if candidate not in names or reference not in names:
            return None
        ours, theirs = (self._scored(folder, names[name]) for name in (candidate, reference))
        try:
            return _joined(ours, theirs, gate, slice)
        except HarnessError:  # a run that does not have this metric or slice, or was damaged: no evidence, no fault
            return None

    def _readable_runs(self, folder: ExperimentStore, suite: str) -> tuple[RunRecord, ...]:
        """Whole runs on the items that the experiment has in this suite."""
        try:
            if not self._same_items(folder, suite):
                return ()
            runs = [run for run in folder.runs() if run.suite == suite and run.stopped is None and run.split != "dev"]
        except HarnessError:  # a damaged folder is told by `harness ls`; here it is only no evidence
            return ()
        if suite != TASK_SUITE:
            wanted = next(s.fingerprint for s in self._experiment.suites if s.name == suite)
            runs = [run for run in runs if run.fingerprint == wanted]
        return tuple(runs)

    def _same_items(self, folder: ExperimentStore, suite: str) -> bool:
        if suite != TASK_SUITE:
            return True
        data = folder.read(DataRecord)
        return data is not None and data.splits["test"].fingerprint == self._experiment.data.test.fingerprint


def _joined(ours: Scored, theirs: Scored, gate: GateSpec, slice: str | None) -> _Joined | None:
    pairs = join([ours], theirs, task=gate.task, metric=gate.metric or PRIMARY, slice=slice)
    if not pairs.n:
        return None
    a, b = pairs.ours[0][pairs.kept], pairs.theirs[pairs.kept]
    units = np.arange(len(pairs.kept)) if pairs.ground.units is None else pairs.ground.units
    return _Joined(a - b, units[pairs.kept], float(b.mean()))


def _pooled(joined: list[_Joined], source: str) -> Measured:
    """Several comparisons as one: each with units of its own."""
    offset, units = 0, []
    for one in joined:
        units.append(one.units + offset)
        offset += int(one.units.max()) + 1
    design = observed(np.concatenate([one.differences for one in joined]), np.concatenate(units).tolist())
    mean = float(np.mean([one.reference_mean for one in joined]))
    return Measured(design, mean, f"measured: {source}")
