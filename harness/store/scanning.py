"""What lies in a store, found without reading it: every folder, and a stamp of its records' files.

A stamp is a digest over name, size and time of change of every file that a view of an experiment is made from, so
it changes with whatever the store writes and with what is edited by hand. Samples do not enter: a run's manifest,
written after them, pins them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SPEC = "spec.yaml"


@dataclass(frozen=True, slots=True)
class Found:
    """One folder of a store."""

    id: str
    """Its name."""
    created: int
    """When its spec was written, in ns since 1970; 0 without one."""
    stamp: str
    """Changes whenever a record of it does; empty where there is nothing to read."""
    fault: str = ""
    """Why it is no experiment, or cannot be looked into."""


def scan(root: Path, files: Iterable[str]) -> list[Found]:
    """Every folder of a store, the newest experiment first. files: names of the records' files.

    A folder that goes away meanwhile is left out, one that may not be entered is told.
    """
    names = frozenset(files)
    try:
        folders = [entry.path for entry in os.scandir(root) if entry.is_dir()]
    except OSError:
        return []
    found = [one for one in (look(Path(path), names) for path in folders) if one]
    return sorted(found, key=lambda one: (one.created, one.id), reverse=True)


def look(folder: Path, names: frozenset[str]) -> Found | None:
    """One folder; None when it is gone."""
    whole = hashlib.blake2b(digest_size=12)
    created = 0
    try:
        for name, seen in sorted(_files(folder, names)):
            whole.update(f"{name}\0{seen.st_size}\0{seen.st_mtime_ns}\n".encode())
            if name == SPEC:
                created = seen.st_mtime_ns
    except FileNotFoundError:
        return None if not folder.exists() else Found(folder.name, 0, "", "changes while it is read: reload the page")
    except OSError as fault:
        return Found(folder.name, 0, "", f"cannot be read: {fault.strerror}")
    if not created:
        return Found(folder.name, 0, "", "no spec.yaml: not an experiment")
    return Found(folder.name, created, whole.hexdigest())


def _files(folder: Path, names: frozenset[str]) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in names:
                yield entry.name, entry.stat()
            elif entry.name == "runs" and entry.is_dir():
                yield from _runs(entry.path)


def _runs(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                yield entry.name, os.stat(f"{entry.path}/run.json")
            except (FileNotFoundError, NotADirectoryError):
                continue  # a run under way, or a stray file
