"""Experiments in Weights & Biases, online or offline as its own variables say. The only file that knows it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Final

from harness import artifacts
from harness.errors import HarnessError, Problem, UsageError
from harness.tracking.content import IDENTITY, Content

PROJECT: Final = "WANDB_PROJECT"


def tell(content: Content) -> tuple[str, bool]:
    """One run, its id made from the verdict's identity; the id, and whether it is new.

    Offline, a run that lies in WANDB_DIR counts as told; online, one that holds the identity.
    Raises HarnessError with what wandb says.
    """
    wandb = _wandb()
    number = hashlib.sha256(content.identity.encode()).hexdigest()[:16]
    near = Path(os.environ.get("WANDB_DIR") or artifacts.tracking())
    folder = near / "wandb"
    offline = os.environ.get("WANDB_MODE", "").lower() in ("offline", "dryrun")
    if offline and any(folder.glob(f"offline-run-*-{number}")):
        return number, False
    try:
        run = wandb.init(
            project=os.environ.get(PROJECT) or "finetune-harness",
            group=content.name,
            name=content.experiment,
            id=number,
            dir=str(near),
            resume="allow",
            config={**content.parameters, **content.tags},
            settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
        )
        known = not offline and run.summary.get(IDENTITY) == content.identity
        if not known:
            _fill(wandb, run, content)
        run.finish()
    except (wandb.errors.Error, OSError) as fault:
        hint = "Look at WANDB_API_KEY and WANDB_BASE_URL, or set WANDB_MODE=offline"
        raise HarnessError(Problem("wandb", str(fault), next=hint)) from fault
    return number, not known


def _fill(wandb: Any, run: Any, content: Content) -> None:
    run.summary.update({**content.metrics, IDENTITY: content.identity})
    kept = wandb.Artifact(f"{content.experiment}-report", type="report", metadata=dict(content.tags))
    for file in content.files:
        kept.add_file(str(file))
    run.log_artifact(kept)
    if content.weights is not None:
        weights = wandb.Artifact(f"{content.experiment}-weights", type="model", metadata=dict(content.tags))
        weights.add_dir(str(content.weights))
        run.log_artifact(weights)


def _wandb() -> Any:
    try:
        import wandb
    except ImportError as fault:
        hint = "pip install 'finetune-harness[wandb]'"
        raise UsageError(Problem("--to wandb", "wandb is not installed", next=hint)) from fault
    return wandb
