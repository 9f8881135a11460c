"""`harness export --to`: a verdict is told to real local stores of other trackers, once, and aliases are mirrored."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import released_store

from harness import evidence, tracking, trainers
from harness.cli import main
from harness.errors import HarnessError, StoreError, UsageError
from harness.store import ExperimentStore, Store
from harness.tracking.content import content

WANTED = "tickets-lora"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return released_store.build(tmp_path / "reports")


@pytest.fixture
def folder(store: Store) -> ExperimentStore:
    return store.find(WANTED)


def tell(folder: ExperimentStore, to: str, **options: Any) -> tracking.Told:
    return tracking.tell(folder, evidence.deployable(folder), to, **options)


# ------------------------------------------------------------------ what is told


def test_metrics_come_with_their_ends_and_what_was_not_measured_is_left_out(folder: ExperimentStore) -> None:
    told = content(folder, evidence.deployable(folder))
    known = evidence.gather(folder)
    run = next(run for run in known.runs if run.candidate.name == "tuned-seed0" and run.suite == "task")
    score = run.metrics[-1].estimate
    name = "tuned-seed0/task/all/primary"
    assert (told.metrics[name], told.metrics[f"{name}.low"], told.metrics[f"{name}.n"]) == (
        score.value, score.low, score.n,
    )  # fmt: skip
    assert not any(value != value for value in told.metrics.values())


def test_weights_that_are_not_those_that_were_judged_are_told_to_nobody(folder: ExperimentStore) -> None:
    candidate = evidence.deployable(folder)
    assert candidate.adapter is not None
    with (trainers.folder_of(candidate.adapter) / "adapter_config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(StoreError, match="not those that were judged"):
        content(folder, candidate, weights=True)


def test_no_text_of_a_model_is_a_parameter_tag_or_metric(folder: ExperimentStore) -> None:
    told = content(folder, evidence.deployable(folder))
    words = json.dumps([dict(told.parameters), dict(told.tags), dict(told.metrics)])
    answers = {sample.answer for run in folder.runs() for sample in folder.samples(run.id) if sample.answer}
    assert not [answer for answer in answers if len(answer) > 12 and answer in words]


def test_another_verdict_is_another_run(folder: ExperimentStore) -> None:
    before = content(folder, evidence.deployable(folder)).identity
    file = folder.path / "verdict.json"
    file.write_text(file.read_text().replace("All blocking gates passed.", "All of them passed."))
    assert content(folder, evidence.deployable(folder)).identity != before


def test_an_unfinished_experiment_is_refused(store: Store) -> None:
    half = store.find("half-done")
    candidate = evidence.deployable(store.find(WANTED))
    with pytest.raises(UsageError, match="is unfinished"):
        tracking.tell(half, candidate, "mlflow")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"to": "mlfow"}, r"unknown tracker 'mlfow'\. Did you mean 'mlflow'"),
        ({"to": "trackio", "alias": "production"}, "trackio has no aliases"),
        ({"to": "mlflow", "repo": "me/it"}, "mlflow has no repositories"),
        ({"to": "hub", "repo": "not a name"}, "got 'not a name'"),
        ({"to": "hub"}, "got None"),
    ],
)
def test_bad_input_is_told(options: dict[str, Any], told: str, folder: ExperimentStore) -> None:
    with pytest.raises(UsageError, match=told):
        tell(folder, **options)


@pytest.mark.parametrize("to", list(tracking.TRACKERS))
def test_a_tracker_that_is_missing_says_how_to_install_it(
    to: str, folder: ExperimentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, to, None)
    with pytest.raises(UsageError, match=rf"{to} is not installed\. pip install 'finetune-harness\[{to}\]'"):
        tell(folder, to)


# ------------------------------------------------------------------------ MLflow


@pytest.fixture
def mlflow(new_mlflow_store: Path, tmp_path: Path) -> Iterator[Any]:
    import warnings

    shutil.copy(new_mlflow_store, tmp_path / "mlflow.db")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
        yield mlflow.MlflowClient()
        mlflow.set_tracking_uri(None)


def test_mlflow_holds_parameters_metrics_tags_and_files(folder: ExperimentStore, mlflow: Any) -> None:
    told = tell(folder, "mlflow", weights=True)
    run = mlflow.get_run(told.where)
    wanted = content(folder, evidence.deployable(folder))
    assert run.data.metrics == pytest.approx(dict(wanted.metrics))
    assert wanted.parameters.items() <= run.data.params.items()
    assert run.data.tags["harness.decision"] == "promote"
    assert run.info.status == "FINISHED"
    files = {one.path for one in mlflow.list_artifacts(told.where)}
    assert {"report.html", "model_card.md", "spec.yaml", "verdict.json", "weights"} <= files


def test_exporting_twice_makes_one_run_and_says_so(folder: ExperimentStore, mlflow: Any) -> None:
    first, again = tell(folder, "mlflow"), tell(folder, "mlflow")
    assert (first.new, again.new) == (True, False)
    assert first.where == again.where
    assert "nothing was made" in again.lines[0]
    experiment = mlflow.get_experiment_by_name(folder.name)
    assert len(mlflow.search_runs([experiment.experiment_id])) == 1


def test_a_run_that_broke_off_is_made_again(folder: ExperimentStore, mlflow: Any) -> None:
    first = tell(folder, "mlflow")
    mlflow.update_run(first.where, status="RUNNING")  # as after a kill
    again = tell(folder, "mlflow")
    assert again.new
    assert again.where != first.where
    assert mlflow.get_run(first.where).info.lifecycle_stage == "deleted"


def test_an_alias_of_mlflow_follows_the_registry(store: Store, mlflow: Any) -> None:
    for wanted in released_store.PROMOTED:
        told = tell(store.find(wanted), "mlflow", alias="production")
        version = mlflow.get_model_version_by_alias("harness", "production")
        assert version.run_id == told.where
        assert mlflow.get_run(told.where).data.tags["harness.experiment"] == store.find(wanted).id
    back = tell(store.find(WANTED), "mlflow", alias="production")
    assert str(mlflow.get_model_version_by_alias("harness", "production").version) == back.version
    assert len(mlflow.search_model_versions("name = 'harness'")) == 2


def test_the_command_prints_one_document(store: Store, mlflow: Any, capsys: pytest.CaptureFixture[str]) -> None:
    main_ok(["export", WANTED, "--to", "mlflow", "--alias", "staging", "--reports", str(store.root), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["alias"], told["version"], told["new"]) == ("staging", "1", True)


def main_ok(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code in (0, None)


# ----------------------------------------------------------------------- trackio


def test_trackio_holds_a_verdict_once(folder: ExperimentStore) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed here")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trackio.api import Api
        from trackio.sqlite_storage import SQLiteStorage

        first, again = tell(folder, "trackio"), tell(folder, "trackio")
        assert (first.new, again.new) == (True, False)
        (run,) = [run for run in Api().runs(folder.name) if run.name == first.where]
        assert run.config["harness.decision"] == "promote"
        (logged,) = SQLiteStorage.get_logs(folder.name, run.name)
    wanted = content(folder, evidence.deployable(folder)).metrics
    assert {name: logged[name] for name in wanted} == pytest.approx(dict(wanted))


# ------------------------------------------------------------------------- wandb


def test_wandb_offline_holds_a_verdict_once(
    folder: ExperimentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed here")
    import warnings

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, again = tell(folder, "wandb"), tell(folder, "wandb")
    assert (first.new, again.new) == (True, False)
    (made,) = glob.glob(f"{tmp_path}/wandb/offline-run-*-{first.where}")
    assert list(Path(made).glob("*.wandb"))


def test_what_no_variable_places_lies_in_our_home_and_not_in_the_current_directory(
    folder: ExperimentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wandb", "mlflow"):
        pytest.importorskip(name, reason=f"{name} is not installed here")
    command = [sys.executable, "-m", "harness", "export", WANTED, "--reports", str(folder.path.parent), "--to"]
    placed = ("MLFLOW_TRACKING_URI", "WANDB_DIR", "OMP_NUM_THREADS")
    env = {key: value for key, value in os.environ.items() if key not in placed} | {"WANDB_MODE": "offline"}
    before = {path.name for path in tmp_path.iterdir()}
    for tracker in ("wandb", "mlflow"):
        subprocess.run([*command, tracker], env=env, cwd=tmp_path, check=True, capture_output=True)
    kept = {path.name for path in (tmp_path / "home" / "tracking").iterdir()}
    assert {"wandb", "mlflow.db", "mlflow-artifacts"} <= kept
    assert {path.name for path in tmp_path.iterdir()} == before


def test_an_error_of_a_tracker_is_an_error_of_ours(
    folder: ExperimentStore, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow as library

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    library.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(HarnessError, match="MLFLOW_TRACKING_URI"):
        tell(folder, "mlflow")
