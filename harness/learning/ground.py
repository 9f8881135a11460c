"""What a training stands on: base model, task, rows, and who answers for the base model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.chat import Library
from harness.data import Split
from harness.engines.base import Engine
from harness.evaluate import TaskSpec
from harness.models import LocalModel
from harness.progress import Progress
from harness.store import ExperimentStore


@dataclass(frozen=True, slots=True)
class Ground:
    """What a training stands on."""

    model: LocalModel
    """The base model."""
    task: TaskSpec
    """How the task is scored."""
    train: Split
    dev: Split
    instruction: str
    """The task's own instruction."""
    near: Path
    """Folder from which relative paths of the spec are meant."""
    folder: ExperimentStore
    progress: Progress
    engine: Callable[[], Engine] | None = None
    """Opens who answers for the base model, where it teaches or is judged (teacher, feedback)."""
    library: Library | None = None
    """Where the best prompt looks things up, when a teacher answers under it."""
