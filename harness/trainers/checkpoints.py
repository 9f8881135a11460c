"""Checkpoints of a training: which one is whole, and how long it took to get there.

transformers writes a checkpoint file by file. A mark is put into it afterwards, at
once or not at all; a checkpoint without it was cut short and is never gone on from.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
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
    """Delete all of them, and weights kept beside them."""
    for path in folder.glob("checkpoint-*"):
        shutil.rmtree(path)
    for path in folder.glob("best-*"):
        path.unlink()


def so_far(earlier: Checkpoint, started: float) -> Checkpoint:
    """What the sittings took until now. started: `time.monotonic()` at the beginning of this one."""
    sittings = (*earlier.sittings, time.monotonic() - started)
    return Checkpoint(None, sittings, max(earlier.peak_memory_bytes, _peak_memory()))


def _peak_memory() -> int:
    """Peak of device memory on a GPU, else of this process's resident memory, in bytes."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells here begins at the peak of the process that started this one
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss if sys.platform == "darwin" else peak_rss * 1024


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
