"""What was sent and started, on disk before it is followed: a job is paid for once, however often a run is killed.

HARNESS_HOME/work/managed/<mark>/
├── train.jsonl, validation.jsonl   what the service was sent
├── job.json                        this journal; it never holds a key
└── done.json                       what came out
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness import artifacts
from harness.store import write_file

FILE: Final = "job.json"
DONE: Final = "done.json"


@dataclass(frozen=True, slots=True)
class Journal:
    """How far a job has come."""

    service: str
    url: str
    key_env: str
    account: str
    model: str
    """Base model at the service."""
    train: str | None = None
    """The file of train rows, as the service knows it."""
    validation: str | None = None
    starting: bool = False
    """Whether the service may have been asked to start it."""
    job: str | None = None
    """Id of the job."""
    started: float | None = None
    """When it was, in seconds since 1970."""

    def write(self, folder: Path) -> Journal:
        """Put it on disk, whole or not at all."""
        write_file(folder / FILE, json.dumps(asdict(self), indent=1))
        return self


def read(folder: Path) -> Journal | None:
    """The journal of a folder, if it has one."""
    path = folder / FILE
    return Journal(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def unfinished() -> Iterator[tuple[Path, Journal]]:
    """Every job that was started from this HARNESS_HOME and of which no end was seen, with its folder."""
    for path in sorted(artifacts.home().glob(f"work/managed/*/{FILE}")):
        begun = read(path.parent)
        if begun is not None and begun.job is not None and not (path.parent / DONE).exists():
            yield path.parent, begun
