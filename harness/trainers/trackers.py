"""Four trackers: how a run of theirs begins, goes on after a kill and ends, and where it lies. What is told in between
goes through transformers' own callbacks.

Nothing lands in the current directory: what a tracker's own variables do not place lies under HARNESS_HOME/tracking,
trackio's in its own store.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from harness import artifacts


@dataclass(frozen=True, slots=True)
class Curve:
    """One training as trackers list it."""

    name: str
    """Of the run: the experiment's id, in a sweep the trial, and the seed."""
    project: str
    """The experiment's name, which its seeds, trials and later versions share."""
    facts: Mapping[str, Any]
    """Method, arguments and the training's key, beside what the callbacks tell of TRL's arguments."""


class Tracker(Protocol):
    """What the callbacks leave out. All methods are called in one thread; what they raise is told as a fault."""

    hint: str
    """Where to look when it cannot be reached."""

    def place(self) -> str:
        """Where runs go, as its own variables say; two places have two runs of the same training."""
        ...

    def begin(self, callback: Any, args: Any, curve: Curve, earlier: str | None) -> str:
        """Make the run, or go on with an earlier one; returns what it is gone on by. Called before the callback's own
        beginning, and may change `args.run_name`."""
        ...

    def begun(self, callback: Any, curve: Curve) -> None:
        """Tell the facts, which are the same after a kill. Called after the callback's own beginning."""
        ...

    def end(self, callback: Any, tell: Callable[[str], None], failed: bool) -> None:
        """Everything is told: flush and close. tell: calls one of the callback's events."""
        ...


class TensorBoard:
    """Event files, one folder a run; one that is gone on with gets another file in it."""

    hint = "Look at TENSORBOARD_LOGGING_DIR"

    def place(self) -> str:
        own = os.environ.get("TENSORBOARD_LOGGING_DIR")
        return str(Path(own).expanduser().absolute() if own else artifacts.tracking() / "tensorboard")

    def begin(self, callback: Any, args: Any, curve: Curve, earlier: str | None) -> str:
        folder = Path(self.place())
        name = earlier or _free(curve.name, lambda name: (folder / name).exists())
        callback.logging_dir = str(folder / name)
        return name

    def begun(self, callback: Any, curve: Curve) -> None:
        pass

    def end(self, callback: Any, tell: Callable[[str], None], failed: bool) -> None:
        tell("on_train_end")


class MLflow:
    """A server or a database; by default an SQLite file of ours."""

    hint = "Look at MLFLOW_TRACKING_URI and whether its server answers"

    def place(self) -> str:
        import mlflow

        return str(mlflow.get_tracking_uri()) if mlflow.is_tracking_uri_set() else mlflow_store()

    def begin(self, callback: Any, args: Any, curve: Curve, earlier: str | None) -> str:
        import mlflow

        # Its own patience is seven tries of two minutes each: too long to hold a training up.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.pop("MLFLOW_RUN_ID", None)  # every seed has a run of its own
        if not mlflow.is_tracking_uri_set():
            mlflow.set_tracking_uri(self.place())
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or curve.project
        if mlflow.get_experiment_by_name(experiment) is None:
            with contextlib.suppress(mlflow.exceptions.MlflowException):  # another training made it just now
                mlflow.create_experiment(experiment, artifact_location=mlflow_files(curve.project, self.place()))
        mlflow.set_experiment(experiment)
        return str(mlflow.start_run(run_id=earlier, run_name=None if earlier else args.run_name).info.run_id)

    def begun(self, callback: Any, curve: Curve) -> None:
        import mlflow

        callback._async_log = False  # it would swallow what goes wrong, and here nobody waits for it anyway
        mlflow.log_params({name: str(value)[:500] for name, value in curve.facts.items()})

    def end(self, callback: Any, tell: Callable[[str], None], failed: bool) -> None:
        import mlflow

        mlflow.flush_async_logging()
        mlflow.end_run("FAILED" if failed else "FINISHED")


class WandB:
    """Weights & Biases, online or offline as WANDB_MODE says."""

    hint = "Look at WANDB_API_KEY and WANDB_BASE_URL, or set WANDB_MODE=offline"

    def place(self) -> str:
        told = (os.environ.get(name, "") for name in ("WANDB_MODE", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT"))
        return " ".join([self._folder(), *told]).strip()

    def begin(self, callback: Any, args: Any, curve: Curve, earlier: str | None) -> str:
        import wandb

        Path(self._folder()).mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "finetune-harness",
            group=curve.project,
            name=args.run_name,
            id=earlier or secrets.token_hex(8),
            resume="allow",
            dir=self._folder(),
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )
        return str(run.id)

    def begun(self, callback: Any, curve: Curve) -> None:
        import wandb

        wandb.config.update(dict(curve.facts), allow_val_change=True)

    def end(self, callback: Any, tell: Callable[[str], None], failed: bool) -> None:
        import wandb

        # Its callback's own end would upload weights, where WANDB_LOG_MODEL says so.
        wandb.finish(exit_code=int(failed))

    def _folder(self) -> str:
        return os.environ.get("WANDB_DIR") or str(artifacts.tracking())


class Trackio:
    """trackio's local store, a Space or a server, as its own variables say."""

    hint = "Look at TRACKIO_DIR, TRACKIO_SPACE_ID and TRACKIO_SERVER_URL"

    def place(self) -> str:
        from trackio.utils import TRACKIO_DIR

        far = os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")
        return far or str(TRACKIO_DIR)

    def begin(self, callback: Any, args: Any, curve: Curve, earlier: str | None) -> str:
        from trackio.api import Api

        known: set[str] = set()
        with contextlib.suppress(ValueError):  # it has no such project yet
            known = {run.name for run in Api().runs(args.project)}
        args.run_name = earlier or _free(args.run_name, known.__contains__)  # a name that is known is gone on with
        return str(args.run_name)

    def begun(self, callback: Any, curve: Curve) -> None:
        import trackio

        trackio.config.update(curve.facts)

    def end(self, callback: Any, tell: Callable[[str], None], failed: bool) -> None:
        tell("on_train_end")


TRACKERS: Final[Mapping[str, Tracker]] = {
    "tensorboard": TensorBoard(), "mlflow": MLflow(), "wandb": WandB(), "trackio": Trackio(),
}  # fmt: skip
"""What `report_to` names, by transformers' names for them."""


def mlflow_store() -> str:
    """MLflow's store where no other one is named: of a training's curves, and of what is exported."""
    return f"sqlite:///{artifacts.tracking()}/mlflow.db"


def mlflow_files(name: str, store: str) -> str | None:
    """Where the files of a new MLflow experiment lie; None leaves it to a store that is not ours."""
    return (artifacts.tracking() / "mlflow-artifacts" / name).as_uri() if store == mlflow_store() else None


def _free(name: str, taken: Callable[[str], bool]) -> str:
    """The name, or the first of name-2, name-3, ... that is not taken: the same training made once more."""
    tried, number = name, 1
    while taken(tried):
        number += 1
        tried = f"{name}-{number}"
    return tried
