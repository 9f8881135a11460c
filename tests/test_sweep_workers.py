"""Sweeps of several processes: `harness sweep` beside `harness run`, workers killed, two sweeps in one store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_training import tiny

from harness.records import SweepRecord, TrainingRecord
from harness.store import ExperimentStore, Store

pytestmark = pytest.mark.slow
pytest.importorskip("optuna")

SIZES = {"train": range(16), "dev": range(20, 24), "test": range(30, 42)}
JUDGED = (0, 10, 11)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny(tmp_path_factory.mktemp("tiny")).path)


def spec_in(folder: Path, model: str, sweep: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, numbers in SIZES.items():
        rows = ({"prompt": f"What comes after {n}?", "completion": f"It is {n + 1}."} for n in numbers)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    spec = {
        "name": folder.name,
        "model": model,
        "data": {name: f"{name}.jsonl" for name in SIZES} | {"audit": {"rules": {"leak_near": "warn"}}},
        "task": {"metric": "chrf", "instruction": "Count.", "max_tokens": 8},
        "prompt": {"search": "none", "contestants": [], "with_tuned": False},
        "train": {"rank": 4, "batch_size": 4, "epochs": 40, "save_steps": 10, "select": {"every": 40}, "sweep": sweep,
                  "report_to": ["tensorboard"]},
        "serve": {"engine": "transformers"},
        "forgetting": False,
        "suites": [],
        "gates": [{"suite": "task", "against": "base", "min_delta": 0.0}],
    }  # fmt: skip
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


class Here:
    """A place to run things in: a home and a store."""

    def __init__(self, folder: Path) -> None:
        self._environment = {**os.environ, "HARNESS_HOME": str(folder / "home"), "HARNESS_VLLM_PYTHON": "",
                             "OMP_NUM_THREADS": "1"}  # fmt: skip
        self.home, self.reports = folder / "home", folder / "reports"

    @contextmanager
    def start(self, command: str, spec: Path) -> Iterator[subprocess.Popen[str]]:
        """A process of the harness, which does not outlive the block."""
        arguments = [sys.executable, "-m", "harness", command, str(spec), "--reports", str(self.reports)]
        pipe = subprocess.PIPE
        with subprocess.Popen(arguments, env=self._environment, stdout=pipe, stderr=pipe, text=True) as child:
            try:
                yield child
            finally:
                child.kill()

    def folder(self, name: str) -> ExperimentStore:
        (found,) = self.reports.glob(f"{name}--*")
        return Store(self.reports).at(found.name)

    def trials(self, name: str) -> list[Any]:
        """Of the journal, as it stands."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        found = list(self.reports.glob(f"{name}--*/journal/sweep.log"))
        if not found:
            return []
        storage = JournalStorage(JournalFileBackend(str(found[0])))
        return list(optuna.load_study(study_name="sweep", storage=storage).get_trials(deepcopy=False))

    def held(self, name: str, state: str = "RUNNING") -> list[int]:
        return [trial.number for trial in self.trials(name) if trial.state.name == state]


def ended(child: subprocess.Popen[str], codes: Sequence[int]) -> str:
    """What it told, once it has ended by itself."""
    _, told = child.communicate(timeout=600)
    assert child.returncode in codes, told
    assert "Traceback" not in told
    return told


def until(ready: Callable[[], object], *children: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        for child in children:
            assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def learned(folder: ExperimentStore) -> tuple[list[tuple[str, float | None]], str, dict[str, Any]]:
    """What a sweep came to, whoever did it: trials with their scores, the adapter, the fields that were taken."""
    sweep, training = folder.read(SweepRecord), folder.read(TrainingRecord)
    assert sweep is not None
    assert training is not None
    assert {trial.state for trial in sweep.trials} == {"complete"}
    scores = sorted((json.dumps(trial.fields, sort_keys=True), trial.score) for trial in sweep.trials)
    return scores, training.seeds[0].adapter.digest, dict(sweep.best)


GRID = {"learning_rate": [0.01, 0.03], "rank": [2, 4], "trials": 4, "prune": False}


def test_a_worker_that_is_killed_loses_nothing_and_another_takes_its_trial_over(model: str, tmp_path: Path) -> None:
    shared, alone = Here(tmp_path / "shared"), Here(tmp_path / "alone")
    spec = spec_in(tmp_path / "grid", model, GRID)
    with shared.start("sweep", spec) as early:
        assert "there is no sweep to help with" in ended(early, [1])
    with shared.start("run", spec) as run:
        until(lambda: shared.held("grid"), run)
        with shared.start("sweep", spec) as killed:
            until(lambda: len(shared.held("grid")) == 2, run, killed)
            theirs = max(shared.held("grid"))
            until(lambda: len(list(shared.home.glob("work/training/*/checkpoint-*/whole.json"))) >= 2, run, killed)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        assert theirs not in shared.held("grid", "COMPLETE")
        with shared.start("sweep", spec) as other:
            ended(other, [0])
        told = ended(run, JUDGED)
    assert "taken over" in told
    with alone.start("run", spec) as run:
        ended(run, JUDGED)
    assert learned(shared.folder("grid")) == learned(alone.folder("grid"))
    assert len(shared.trials("grid")) == 4
    with shared.start("sweep", spec) as late:
        ended(late, [0])
    with shared.start("run", spec) as again:
        assert "has its verdict; nothing to do" in ended(again, JUDGED)
    experiment = shared.folder("grid").id
    runs = {path.name for path in (shared.home / "tracking" / "tensorboard").iterdir()}
    assert runs == {f"{experiment}-seed0", *(f"{experiment}-trial{number}-seed0" for number in range(4))}


def test_the_run_that_began_a_sweep_may_be_killed_and_its_helper_goes_on(model: str, tmp_path: Path) -> None:
    here = Here(tmp_path)
    spec = spec_in(tmp_path / "grid", model, GRID)
    with here.start("run", spec) as run:
        until(lambda: here.held("grid"), run)
        with here.start("sweep", spec) as helper:
            until(lambda: len(here.held("grid")) == 2, run, helper)
            run.send_signal(signal.SIGKILL)
            run.wait()
            ended(helper, [0])
    assert here.held("grid", "COMPLETE") == [0, 1, 2, 3]
    with here.start("run", spec) as again:
        ended(again, JUDGED)
    assert len(learned(here.folder("grid"))[0]) == 4


def test_two_sweeps_run_at_once_in_one_store_and_share_only_trainings(model: str, tmp_path: Path) -> None:
    here = Here(tmp_path)
    first = spec_in(tmp_path / "first", model, {"learning_rate": [0.01, 0.03], "trials": 2, "prune": False})
    second = spec_in(tmp_path / "second", model, {"learning_rate": [0.03, 0.05], "trials": 2, "prune": False})
    with here.start("run", first) as one, here.start("run", second) as other:
        ended(one, JUDGED)
        ended(other, JUDGED)
    records = [here.folder(name).read(SweepRecord) for name in ("first", "second")]
    rates = [sorted(trial.fields["learning_rate"] for trial in record.trials) for record in records if record]
    assert rates == [[0.01, 0.03], [0.03, 0.05]]
    same = [trial for record in records if record for trial in record.trials if trial.fields["learning_rate"] == 0.03]
    assert same[0].adapter == same[1].adapter
    assert len(list((here.home / "work" / "training").iterdir())) == 3
