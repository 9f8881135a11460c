"""`train.report_to`: what each tracker really holds of a training, and what happens when it cannot be told."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from small_training import QUICK, ROWS, Notes, job, tiny

from harness import trainers
from harness.errors import HarnessError
from harness.models import LocalModel
from harness.records import Preference, SeedTraining
from harness.trainers import METHODS, Job, TrainSpec, reporting
from harness.trainers.passthrough import problems
from harness.trainers.trackers import TRACKERS

Curves = Mapping[str, list[tuple[int, float]]]
PROJECT, EXPERIMENT = "counting", "counting--1a2b3c4d"
NAME = f"{EXPERIMENT}-seed0"
EVERY = QUICK.model_copy(update={"args": {"logging_steps": 1}, "select": QUICK.select.model_copy(update={"every": 4})})
"""Twelve steps; a look at dev before the first and at every fourth, a checkpoint at these and every fifth."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, trackers that are told nothing by the environment, and an empty current directory."""
    own = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "WANDB_DIR",
           "MLFLOW_HTTP_REQUEST_TIMEOUT", "WANDB_API_KEY", "WANDB_PROJECT", "TENSORBOARD_LOGGING_DIR")  # fmt: skip
    for name in own:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "home"
    assert not list((tmp_path / "here").iterdir())


@pytest.fixture
def tracker(request: pytest.FixtureRequest, home: Path) -> Iterator[str]:
    """A tracker by its name, its store empty."""
    name: str = request.param
    pytest.importorskip(name)
    if name == "mlflow":
        (home / "tracking").mkdir(parents=True)
        shutil.copy(request.getfixturevalue("new_mlflow_store"), home / "tracking" / "mlflow.db")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their own libraries, which they use in older ways
        if name == "trackio":
            shutil.rmtree(_trackio(), ignore_errors=True)
        yield name
        if name == "mlflow":
            import mlflow

            mlflow.set_tracking_uri(None)


def _trackio() -> Path:
    from trackio.utils import TRACKIO_DIR

    return Path(TRACKIO_DIR)


all_trackers = pytest.mark.parametrize("tracker", list(TRACKERS), indirect=True)
by = pytest.mark.parametrize


def told(model: LocalModel, tracker: str, spec: TrainSpec = EVERY, **changes: Any) -> Job:
    spec = spec.model_copy(update={"report_to": (tracker,)})
    return job(model, spec, **{"dev": ROWS[:4], "experiment": EXPERIMENT} | changes)


def scorer(split: str, answers: Sequence[tuple[int, Any]]) -> list[float | None]:
    return [len(str(answer)) % 7 / 7 for _, answer in answers]  # unlike ones, for grpo learns from differences


def here(asked: Job, progress: Notes | None = None) -> SeedTraining:
    """Train in this process: no new interpreter to wait for."""
    return METHODS[asked.spec.method](asked, scorer, progress or Notes())[0]


# ------------------------------------------------------ what a tracker holds, by its own means


def _of_tensorboard(home: Path, name: str, project: str) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(home / "tracking" / "tensorboard" / name), purge_orphaned_data=False)
    read.Reload()
    return {  # as they were written: files of one second are read in the order of their names
        tag: [(one.step, one.value) for one in sorted(read.Scalars(tag), key=lambda one: one.wall_time)]
        for tag in read.Tags()["scalars"]
    }


def _of_mlflow(home: Path, name: str, project: str) -> Curves:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/tracking/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name(project).experiment_id], f"run_name = '{name}'")
    assert run.info.status == "FINISHED"
    assert run.data.params["harness/rank"] == "4"
    return {
        tag: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, tag)]
        for tag in run.data.metrics
    }


def _of_wandb(home: Path, name: str, project: str) -> Curves:
    found: dict[str, list[tuple[int, float]]] = {}
    identities = set()
    for file in sorted((home / "tracking" / "wandb").glob("offline-run-*/*.wandb")):
        for record in _whole(file):
            if record.run.display_name:
                assert (record.run.display_name, record.run.run_group) == (name, project)
                identities.add(record.run.run_id)
            items = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
            for tag, value in items.items():
                found.setdefault(tag, []).append((items.get("train/global_step", -1), value))
    assert len(identities) == 1
    return found


def _whole(file: Path) -> list[Any]:
    """The records of a run's file up to its end, which wandb's own process writes some time after the run has ended."""
    from wandb.proto import wandb_internal_pb2

    deadline = time.monotonic() + 60
    while True:
        found = [wandb_internal_pb2.Record.FromString(data) for data in _records(file.read_bytes())]
        if found and found[-1].HasField("exit"):
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _records(log: bytes) -> Iterator[bytes]:
    """Records of a run's file, a log in LevelDB's format: blocks of 32 kB with pieces of records in them."""
    at, whole = 7, b""
    while at + 7 <= len(log):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", log, at + 4)
        if at + 7 + length > len(log):
            return  # the rest of it is on its way
        whole += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last piece
            yield whole
            whole = b""


def _of_trackio(home: Path, name: str, project: str) -> Curves:
    from trackio.sqlite_storage import SQLiteStorage

    found: dict[str, list[tuple[int, float]]] = {}
    for point in SQLiteStorage.get_logs(project, name):
        for tag, value in point.items():
            if isinstance(value, int | float):
                found.setdefault(tag, []).append((point["train/global_step"], value))
    return found


READ = {"tensorboard": _of_tensorboard, "mlflow": _of_mlflow, "wandb": _of_wandb, "trackio": _of_trackio}


def holds(tracker: str, home: Path, training: SeedTraining, name: str = NAME, project: str = PROJECT) -> None:
    """The tracker has the record's curves, each point once."""
    curves = READ[tracker](home, name, project)
    train, dev = ("", "eval_") if tracker == "mlflow" else ("train/", "eval/")
    recorded = {
        f"{train}loss": [(point.step, point.loss) for point in training.curve],
        f"{train}learning_rate": [(point.step, point.learning_rate) for point in training.curve],
        f"{train}grad_norm": [(point.step, point.value) for point in training.curves["grad_norm"]],
        f"{dev}score": [(point.step, point.score) for point in training.dev],
        f"{dev}loss": [(point.step, point.loss) for point in training.dev],
    }
    for tag, points in recorded.items():
        assert [step for step, _ in curves[tag]] == [step for step, _ in points], tag
        assert [value for _, value in curves[tag]] == pytest.approx([value for _, value in points], rel=1e-5), tag
    assert len(recorded[f"{dev}score"]) == 4


# ------------------------------------------------------------------------ told


@all_trackers
def test_a_tracker_holds_the_curves_of_a_training_that_was_broken_off_each_point_once(
    tracker: str, model: LocalModel, home: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        here(told(model, tracker), Notes(stop_at=7))  # steps 6 and 7 come again: they were after the checkpoint
    notes = Notes()
    training = here(told(model, tracker), notes)
    assert training.resumed == 1
    holds(tracker, home, training)
    assert any(f"seed 0: told to {tracker} as {NAME}, in " in note for note in notes.notes)


@all_trackers
def test_a_training_taken_over_is_told_once_under_each_experiments_name(
    tracker: str, model: LocalModel, home: Path
) -> None:
    trained = here(job(model, EVERY, dev=ROWS[:4]))
    for _ in range(2):
        assert here(told(model, tracker)) == trained
    holds(tracker, home, trained)


def test_after_sigkill_a_run_goes_on_and_no_point_comes_twice(model: LocalModel, home: Path) -> None:
    pytest.importorskip("tensorboard")
    asked = told(model, "tensorboard")
    with pytest.raises(KeyboardInterrupt):
        trainers.train(asked, Notes(stop_at=7), scorer)  # the process that trains is killed
    training, _ = trainers.train(asked, Notes(), scorer)
    steps = [step for step, _ in _of_tensorboard(home, NAME, PROJECT)["train/loss"]]
    assert training.resumed == 1
    assert len(set(steps)) == len(steps)
    assert len({*range(1, 13)} - set(steps)) <= 1  # what was on its way in that moment may be missing
    assert not (home / "tracking" / "tensorboard" / f"{NAME}-2").exists()


def test_what_a_tracker_was_behind_with_at_a_kill_is_told_when_training_goes_on(
    model: LocalModel, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from transformers.integrations import TensorBoardCallback

    tell, reached, never = TensorBoardCallback.on_log, threading.Event(), threading.Event()

    def stuck(self: Any, args: Any, state: Any, *more: Any, **others: Any) -> None:
        if state.global_step == 3:
            reached.set()
            never.wait()
        tell(self, args, state, *more, **others)

    class Behind(Notes):
        def advance(self, steps: int = 1, note: str = "") -> None:
            assert self.steps < 3 or reached.wait(60)
            super().advance(steps, note)

    with monkeypatch.context() as patched:
        patched.setattr(TensorBoardCallback, "on_log", stuck)
        patched.setattr(reporting, "END_S", 0.1)
        with pytest.raises(KeyboardInterrupt):
            here(told(model, "tensorboard"), Behind(stop_at=7))
    training = here(told(model, "tensorboard"))
    curves = _of_tensorboard(home, NAME, PROJECT)
    assert training.resumed == 1
    assert [step for step, _ in curves["train/loss"]] == [1, 2, *range(4, 13)]
    assert [value for _, value in curves["eval/score"]] == pytest.approx([look.score for look in training.dev])


PAIRS = tuple(
    Preference(id=item.id, messages=item.messages, chosen=item.target, rejected=f"No idea, {n}.")
    for n, item in enumerate(ROWS)
)


@by("changes", [{"objective": "dpo"}, {"objective": "orpo"}, {"objective": "kto"}, {"objective": "grpo"},
                {"method": "classifier"}, {"method": "full"}])  # fmt: skip
def test_every_objective_and_the_label_head_tell_their_curves(
    changes: dict[str, str], model: LocalModel, home: Path
) -> None:
    pytest.importorskip("tensorboard")
    quick = {"rank": 4, "batch_size": 4, "epochs": 2, "learning_rate": 0.01, "args": {"logging_steps": 1}}
    spec = TrainSpec.model_validate(quick | changes)
    more: dict[str, Any] = {"pairs": PAIRS} if spec.objective in ("dpo", "orpo", "kto") else {}
    if spec.method == "classifier":
        more = {"rows": tuple(row.model_copy(update={"target": str(at % 2)}) for at, row in enumerate(ROWS))}
    training = here(told(model, "tensorboard", spec, **more))
    curves = _of_tensorboard(home, NAME, PROJECT)
    assert [value for _, value in curves["train/loss"]] == pytest.approx([point.loss for point in training.curve])
    assert [value for _, value in curves["eval/score"]] == pytest.approx([point.score for point in training.dev])


def test_a_tracker_moves_no_weight_and_no_identity(model: LocalModel, home: Path) -> None:
    pytest.importorskip("tensorboard")
    with_it = here(told(model, "tensorboard"))
    shutil.rmtree(home / "work")
    without = here(job(model, EVERY, dev=ROWS[:4]))
    assert with_it.adapter == without.adapter
    assert (with_it.curve, with_it.curves) == (without.curve, without.curves)


def test_a_training_made_once_more_is_a_run_of_its_own(model: LocalModel, home: Path) -> None:
    pytest.importorskip("tensorboard")
    for _ in range(2):
        training = here(told(model, "tensorboard"))
        shutil.rmtree(home / "work")
    holds("tensorboard", home, training)
    holds("tensorboard", home, training, f"{NAME}-2")


def test_a_place_that_a_trackers_own_variable_names_is_kept_to(
    model: LocalModel, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    here(told(model, "tensorboard"))
    assert list((tmp_path / "logs" / NAME).glob("events.*"))
    assert not (home / "tracking").exists()


# -------------------------------------------------------------------- not told


UNREACHABLE = {
    "tensorboard": ({"TENSORBOARD_LOGGING_DIR": "/dev/null/logs"}, "TENSORBOARD_LOGGING_DIR"),
    "mlflow": (
        {"MLFLOW_TRACKING_URI": "http://me:sesame-open@127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
        "MLFLOW_TRACKING_URI",
    ),
    "wandb": ({"WANDB_MODE": "online", "HOME": "/dev/null"}, "WANDB_API_KEY"),
    "trackio": ({"TRACKIO_SERVER_URL": "http://127.0.0.1:9"}, "TRACKIO_SERVER_URL"),
}


@all_trackers
def test_a_tracker_that_cannot_be_reached_ends_the_training_before_its_first_step(
    tracker: str, model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, hint = UNREACHABLE[tracker]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notes = Notes()
    with pytest.raises(HarnessError, match=rf"train\.report_to: {tracker}: cannot be told.*{hint}") as fault:
        trainers.train(told(model, tracker), notes, scorer)  # wandb reads its variables once in a process
    assert f"or leave {tracker} out, which makes no other experiment" in str(fault.value)
    assert "sesame" not in str(fault.value)
    assert notes.steps == 0
    assert here(job(model, EVERY, dev=ROWS[:4])).resumed == 0


@by("tracker", ["mlflow"], indirect=True)
def test_a_tracker_that_fails_later_is_a_note_and_the_training_ends_as_without_it(
    tracker: str, model: LocalModel, home: Path
) -> None:
    class Breaking(Notes):
        def advance(self, steps: int = 1, note: str = "") -> None:
            super().advance(steps, note)
            if self.steps == 6:
                with closing(sqlite3.connect(home / "tracking" / "mlflow.db", timeout=60)) as store, store:
                    store.execute("ALTER TABLE metrics RENAME TO gone")

    notes = Breaking()
    training = here(told(model, tracker), notes)
    (note,) = [note for note in notes.notes if "told no more" in note]
    assert note.startswith("seed 0: mlflow failed, and is told no more: ")
    shutil.rmtree(home / "work")
    assert here(job(model, EVERY, dev=ROWS[:4])).adapter == training.adapter


class Stuck:
    """Answers at once but for one call, which does not come back while the test lasts."""

    hint = "Look at it"

    def __init__(self, where: str) -> None:
        self.over = threading.Event()
        self._where = where

    def place(self) -> str:
        return "nowhere"

    def begin(self, *_: Any) -> str:
        return self._come("begin")

    def begun(self, *_: Any) -> None:
        pass

    def end(self, *_: Any) -> None:
        self._come("end")

    def _come(self, where: str) -> str:
        if where == self._where:
            self.over.wait()
        return where


@pytest.fixture
def stuck(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stuck]:
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))  # of its callback
    made = Stuck(request.param)
    monkeypatch.setitem(TRACKERS, "tensorboard", made)  # type: ignore[arg-type]
    monkeypatch.setattr(reporting, f"{request.param.upper()}_S", 2.0)  # the other call has the time that it takes
    yield made
    made.over.set()


@by("stuck", ["begin"], indirect=True)
def test_a_tracker_that_does_not_answer_is_an_error_before_training(stuck: Stuck, model: LocalModel) -> None:
    with pytest.raises(HarnessError, match="tensorboard: has not answered for 2 seconds"):
        here(told(model, "tensorboard"))


@by("stuck", ["end"], indirect=True)
def test_a_tracker_that_does_not_take_the_rest_is_not_waited_for(stuck: Stuck, model: LocalModel) -> None:
    notes = Notes()
    assert here(told(model, "tensorboard"), notes).steps == 12
    assert any("tensorboard has not taken everything within 2 seconds" in note for note in notes.notes)


def test_what_a_tracker_says_is_shown_without_passwords_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    said = "no https://me:open@host/x?write_token=abc&a=1 with 0123456789abcdef"
    assert reporting.clean(said) == "no https://…@host/x?write_token=…&a=1 with …"


def test_a_tracker_that_is_switched_off_or_has_nothing_to_tell_is_an_error_when_the_spec_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DISABLED", "true")
    (found,) = problems(TrainSpec(report_to=("wandb",)))
    assert "'wandb' is switched off by WANDB_DISABLED" in str(found)
    (found,) = problems(TrainSpec(method="command", command="true", report_to=("wandb",)))
    assert "train.report_to: has no effect with method: command" in str(found)
