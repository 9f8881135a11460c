"""Looks at production logs: one append-only file beside the experiments, over all deployments of a store."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.records import MonitorRecord
from harness.store.files import Journal, read_lines, unwritable

MONITORING: Final = "monitoring.jsonl"
"""Its name in the store."""


class Monitoring:
    """The ledger of looks at production logs."""

    def __init__(self, root: Path) -> None:
        self.path = root / MONITORING

    def all(self) -> list[MonitorRecord]:
        """Every look, in the order in which they were made. StoreError names a line that cannot be read."""
        return read_lines(self.path, MonitorRecord)

    def deployment(self, name: str) -> list[MonitorRecord]:
        """The looks at one deployment, the latest last."""
        return [look for look in self.all() if look.deployment == name]

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One look at a time: who looks reads the last one, bets on, and appends, and none comes between."""
        lock = self.path.with_name(".monitoring.lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            stream = lock.open("w")
        except OSError as fault:
            raise unwritable(lock, fault) from fault
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def append(self, look: MonitorRecord) -> None:
        """Add a look at the end, flushed to disk; call it inside `turn`. StoreError when it cannot be written."""
        whole = self.path.stat().st_size if self.path.exists() else 0
        with Journal(self.path) as journal:
            try:
                journal.append([look])
            except BaseException:  # Ctrl-C too must not leave half a line; it is raised again
                with self.path.open("ab") as stream:
                    stream.truncate(whole)
                raise
