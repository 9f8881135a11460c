"""Votes of people on one experiment: an append-only file that several processes may write at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from harness.records import VoteRecord
from harness.store.files import read_lines, unwritable

VOTES: Final = "votes.jsonl"
"""Its name in the experiment's folder."""


def append(path: Path, votes: Iterable[VoteRecord]) -> None:
    """Add whole lines at the end, flushed to disk. Raises StoreError when it cannot be written.

    The file is locked while it grows, so that reviewers at once do not mix their lines; a torn last line, left by a
    machine that went down, is cut off first.
    """
    lines = b"".join(vote.model_dump_json().encode() + b"\n" for vote in votes)
    try:
        with path.open("ab+", buffering=0) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            held = stream.read()
            whole = held.rfind(b"\n") + 1
            if whole != len(held):
                stream.truncate(whole)
            if stream.write(lines) != len(lines):
                stream.truncate(whole)
                raise OSError(28, os.strerror(28))
            os.fsync(stream.fileno())
    except OSError as fault:
        raise unwritable(path, fault) from fault


def read(path: Path) -> list[VoteRecord]:
    """Every vote in the order in which they came; StoreError names the line that cannot be read."""
    return read_lines(path, VoteRecord)


def counted(votes: Iterable[VoteRecord]) -> list[VoteRecord]:
    """The votes that count: of one reviewer on one pair of answers the last."""
    kept = {(v.candidate, v.reference, v.task, v.id, v.repeat, v.answers, v.reviewer): v for v in votes}
    return list(kept.values())
