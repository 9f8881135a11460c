"""Experiments in MLflow, and aliases mirrored to its model registry. The only file that knows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from harness.errors import HarnessError, Problem, UsageError
from harness.tracking.content import IDENTITY, Content
from harness.trainers.trackers import mlflow_files, mlflow_store

MODEL: Final = "harness"
"""The registered model whose aliases are those of the registry."""
BATCH: Final = 500
"""Metrics that one call takes at most, and some."""


def tell(content: Content) -> tuple[str, bool]:
    """One run in MLflow's own store; its id, and whether it is new.

    The same verdict makes one run, whoever exports it how often; one that broke off is taken away and made again.
    Raises HarnessError with what MLflow says.
    """
    with _explained() as client:
        experiment = _experiment(client, content.name)
        told = [run for run in _runs(client, experiment, content) if run.info.status == "FINISHED"]
        if told:
            return str(told[0].info.run_id), False
        for broken in _runs(client, experiment, content):
            client.delete_run(broken.info.run_id)
        return _made(client, experiment, content), True


def mirror(content: Content, alias: str) -> tuple[str, bool]:
    """Point an alias of the registered model to an experiment's run; the version, and whether anything moved.

    The run is made where there is none. Raises HarnessError with what MLflow says.
    """
    run, _ = tell(content)
    with _explained() as client:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(MODEL)
        except MlflowException as fault:
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        versions = client.search_model_versions(f"name = '{MODEL}' and run_id = '{run}'")
        version = versions[0] if versions else _version(client, run, content)
        try:
            before = client.get_model_version_by_alias(MODEL, alias)
            if str(before.version) == str(version.version):
                return str(version.version), False
        except MlflowException as fault:
            if fault.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
        client.set_registered_model_alias(MODEL, alias, version.version)
        return str(version.version), True


def _version(client: Any, run: str, content: Content) -> Any:
    source = client.get_run(run).info.artifact_uri
    return client.create_model_version(MODEL, source, run_id=run, tags=dict(content.tags))


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=mlflow_files(name, client.tracking_uri)))
    if found.lifecycle_stage != "active":
        hint = f"Restore it: mlflow experiments restore --experiment-id {found.experiment_id}"
        raise UsageError(Problem(f"MLflow experiment {name}", "is deleted there", next=hint))
    return str(found.experiment_id)


def _runs(client: Any, experiment: str, content: Content) -> list[Any]:
    return list(client.search_runs([experiment], f"tags.`{IDENTITY}` = '{content.identity}'"))


def _made(client: Any, experiment: str, content: Content) -> str:
    from mlflow.entities import Metric, Param

    run = client.create_run(experiment, tags=dict(content.tags), run_name=content.experiment)
    number, now = run.info.run_id, int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in content.metrics.items()]
    parameters = [Param(name, value) for name, value in content.parameters.items()]
    for at in range(0, max(len(metrics), 1), BATCH):
        client.log_batch(number, metrics=metrics[at : at + BATCH])
    for at in range(0, len(parameters), 100):
        client.log_batch(number, params=parameters[at : at + 100])
    for file in content.files:
        client.log_artifact(number, str(file))
    if content.weights is not None:
        client.log_artifacts(number, str(content.weights), "weights")
    client.set_terminated(number)
    return str(number)


@contextmanager
def _explained() -> Iterator[Any]:
    """MLflow's client; what it refuses is told as an error of ours."""
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as fault:
        hint = "pip install 'finetune-harness[mlflow]'"
        raise UsageError(Problem("--to mlflow", "mlflow is not installed", next=hint)) from fault
    try:
        yield mlflow.MlflowClient(None if mlflow.is_tracking_uri_set() else mlflow_store())
    except MlflowException as fault:
        hint = "Look at MLFLOW_TRACKING_URI and whether its server answers"
        raise HarnessError(Problem("mlflow", str(fault).splitlines()[0], next=hint)) from fault
