"""Append-only files beside the experiments: one line after the other, one writer at a time, never half a line."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from harness.records import MonitorRecord, Record, ReleaseRecord
from harness.store.files import Journal, read_lines, unwritable

L = TypeVar("L", bound=Record)


class Ledger(Generic[L]):
    """Lines of one kind over all experiments of a store."""

    FILE: ClassVar[str]
    """Its name in the store."""
    KIND: type[L]

    def __init__(self, root: Path) -> None:
        self.path = root / self.FILE

    def all(self) -> list[L]:
        """Every line, in the order in which they were written. StoreError names a line that cannot be read."""
        return read_lines(self.path, self.KIND)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One writer at a time: who writes reads the last line, goes on from it, and appends; none comes between."""
        lock = self.path.with_name(f".{self.path.stem}.lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            stream = lock.open("w")
        except OSError as fault:
            raise unwritable(lock, fault) from fault
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def append(self, line: L) -> None:
        """Add a line at the end, flushed to disk; call it inside `turn`. StoreError when it cannot be written."""
        whole = self.path.stat().st_size if self.path.exists() else 0
        with Journal(self.path) as journal:
            try:
                journal.append([line])
            except BaseException:  # Ctrl-C too must not leave half a line; it is raised again
                with self.path.open("ab") as stream:
                    stream.truncate(whole)
                raise


class Monitoring(Ledger[MonitorRecord]):
    """Looks at production logs."""

    FILE = "monitoring.jsonl"
    KIND = MonitorRecord

    def deployment(self, name: str) -> list[MonitorRecord]:
        """The looks at one deployment, the latest last."""
        return [look for look in self.all() if look.deployment == name]


class Registry(Ledger[ReleaseRecord]):
    """Where the aliases point: every move of each, by whom and why."""

    FILE = "registry.jsonl"
    KIND = ReleaseRecord

    def history(self, alias: str) -> list[ReleaseRecord]:
        """The moves of one alias, the latest last."""
        return [move for move in self.all() if move.alias == alias]

    def aliases(self) -> dict[str, ReleaseRecord]:
        """What each alias points to now, by its name."""
        return {move.alias: move for move in self.all()}

    def current(self, alias: str) -> ReleaseRecord | None:
        """What an alias points to now; None where it was never moved."""
        return self.aliases().get(alias)
