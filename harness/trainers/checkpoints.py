"""Checkpoints of a training: which one is whole, and how long it took to get there.

transformers writes a checkpoint file by file. A mark is put into it afterwards, at
once or not at all; a checkpoint without it was cut short and is never gone on from.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.store import write_file

MARK = "whole.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint; without a path, the beginning of a training."""

    path: Path | None = None
    """Its folder."""
    sittings: tuple[float, ...] = ()
    """Seconds of each sitting up to here."""
    peak_memory_bytes: int = 0
    """Most memory that any of them took."""

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return 0 if self.path is None else _step(self.path)


def last(folder: Path) -> Checkpoint:
    """The newest whole checkpoint; all others are deleted."""
    found = list(folder.glob("checkpoint-*"))
    newest = max((path for path in found if (path / MARK).exists()), key=_step, default=None)
    for path in found:
        if path != newest:
            shutil.rmtree(path)
    if newest is None:
        return Checkpoint()
    marked = json.loads((newest / MARK).read_text(encoding="utf-8"))
    return Checkpoint(newest, tuple(marked["sittings"]), marked["peak_memory_bytes"])


def mark(checkpoint: Checkpoint) -> None:
    """Say that it is whole."""
    assert checkpoint.path is not None  # noqa: S101  the beginning is not marked
    told = {key: value for key, value in asdict(checkpoint).items() if key != "path"}
    write_file(checkpoint.path / MARK, json.dumps(told))


def clear(folder: Path) -> None:
    """Delete all of them."""
    for path in folder.glob("checkpoint-*"):
        shutil.rmtree(path)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
