"""Experiments in trackio. The only file that knows it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from harness.errors import Problem, UsageError
from harness.tracking.content import IDENTITY, Content


def tell(content: Content) -> tuple[str, bool]:
    """One run in trackio's local store, in the project of the experiment's name; its name, and whether it is new."""
    trackio = _trackio()
    name = content.identity.replace("@", "-")
    if any(run.name == name and (run.config or {}).get(IDENTITY) == content.identity for run in _runs(content.name)):
        return name, False
    for broken in _runs(content.name):
        if broken.name == name:
            broken.delete()
    with contextlib.redirect_stdout(io.StringIO()):  # it greets; stdout is for one JSON document
        config = {**content.parameters, **{key: value for key, value in content.tags.items() if key != IDENTITY}}
        run = trackio.init(
            project=content.name, name=name, config={**config, IDENTITY: content.identity},
            embed=False, auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip
        run.log(dict(content.metrics), step=0)
        for file in content.files:
            trackio.log_artifact(str(file), name=f"{name}-{file.name}", type="report")
        if content.weights is not None:
            trackio.log_artifact(str(content.weights), name=f"{name}-weights", type="model")
        trackio.finish()
    return name, True


def _runs(project: str) -> list[Any]:
    from trackio.api import Api

    try:
        return list(Api().runs(project))
    except ValueError:  # it has no such project yet
        return []


def _trackio() -> Any:
    try:
        import trackio
    except ImportError as fault:
        hint = "pip install 'finetune-harness[trackio]'"
        raise UsageError(Problem("--to trackio", "trackio is not installed", next=hint)) from fault
    return trackio
