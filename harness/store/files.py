"""Files of the store: written whole or not at all, read with the fault named, appended line by line."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import yaml
from pydantic import ValidationError

from harness.errors import Problem, StoreError
from harness.records import SCHEMA_VERSION, Record

R = TypeVar("R", bound=Record)


def write_file(path: Path, text: str) -> None:
    """Write the whole file or nothing: beside its place, flushed to disk, then renamed."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        staging.replace(path)
    except OSError as fault:
        with contextlib.suppress(OSError):
            staging.unlink(missing_ok=True)
        raise unwritable(path, fault) from fault


def unwritable(path: Path, fault: OSError) -> StoreError:
    """What to say when a file cannot be written."""
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "Free some disk and run again" if full else "Make the place writable, or name another with --reports"
    return StoreError(Problem(str(path), f"cannot write: {fault.strerror}", next=hint))


def read_record(path: Path, kind: type[R]) -> R:
    """Read one record; StoreError names the file and the first field that is wrong."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as fault:
        raise StoreError(Problem(str(path), f"cannot read: {fault.strerror}")) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        where = f"{path}: {at}" if at else str(path)
        hint = f"This program reads schema version {SCHEMA_VERSION}"
        next_ = "Restore the file, or delete it and run again"
        raise StoreError(Problem(where, f"not a {kind.__name__}: {first['msg']}", hint, next_)) from fault


def read_lines(path: Path, kind: type[R]) -> list[R]:
    """Read a JSON-lines file of records. A torn last line is left out: it is still owed."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        if not line:
            continue
        try:
            records.append(kind.model_validate_json(line))
        except ValidationError as fault:
            raise StoreError(
                Problem(f"{path}:{number}", f"not a {kind.__name__}: {fault.errors()[0]['msg']}")
            ) from fault
    return records


def load_yaml(data: bytes) -> Any:
    """What a YAML text holds; safe, no tag runs anything. Raises yaml.YAMLError, RecursionError, UnicodeDecodeError.

    The loader in C, where it was built, is some ten times as fast. Text that could be nested so deep that it
    overflows the stack there goes to the one in Python, which raises.
    """
    openings = sum(map(data.count, (b"[", b"{", b"-", b"?")))
    shallow = openings < 2000 and len(data) < 500_000
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if shallow else yaml.SafeLoader
    return yaml.load(data, Loader=loader)  # noqa: S506 - both are safe loaders


FLUSH_S = 0.1
"""How often a journal that grows is forced to disk, in seconds."""


class Journal:
    """An append-only JSON-lines file.

    A line is safe from the end of this process, however it ends, once `append` returns; from the end of the
    machine's power `FLUSH_S` later at most while lines keep coming, and once the journal is closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a full disk refused is not tried a second time when the file is closed.
            self._stream: IO[bytes] = path.open("ab+", buffering=0)
            self._flushed = 0.0
        except OSError as fault:
            raise unwritable(path, fault) from fault
        self._cut_torn_line()

    def _cut_torn_line(self) -> None:
        """After a crash the last line may be half written; it is cut off, so that it is asked again."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            self._stream.truncate(whole)

    def append(self, records: Sequence[Record]) -> None:
        """Write the records: whole lines, and all that came before them is in the file."""
        line = b"".join(record.model_dump_json().encode() + b"\n" for record in records)
        try:
            if self._stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if time.monotonic() - self._flushed >= FLUSH_S:
                self._flush()
        except OSError as fault:
            raise unwritable(self.path, fault) from fault

    def close(self) -> None:
        """Flush and close the file."""
        if self._stream.closed:
            return
        try:
            self._flush()
        except OSError as fault:
            raise unwritable(self.path, fault) from fault
        finally:
            self._stream.close()

    def _flush(self) -> None:
        os.fsync(self._stream.fileno())
        self._flushed = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
