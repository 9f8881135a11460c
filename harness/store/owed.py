"""Samples of a run under way: its journal read by index, a record at a time, so that a long run needs little memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, overload

from pydantic import ValidationError

from harness.errors import Problem, StoreError
from harness.records import SampleRecord

Asked = tuple[str, str, int, str]
"""Task, item id, repeat and item digest: a sample's place and the content that was asked."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sample stands in its journal."""

    offset: int
    size: int
    failed: bool


class JournalSamples(Sequence[SampleRecord]):
    """Samples in a chosen order, each read from the file when it is looked at."""

    def __init__(self, path: Path, places: Sequence[Place]) -> None:
        self._path, self._places = path, places
        self.digest: str | None = None
        """What `samples_digest` found: lines of a journal do not change, and it is asked for twice."""

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> SampleRecord: ...
    @overload
    def __getitem__(self, at: slice) -> Self: ...
    def __getitem__(self, at: int | slice) -> SampleRecord | Self:
        if isinstance(at, slice):
            return type(self)(self._path, self._places[at])
        return next(iter(type(self)(self._path, [self._places[at]])))

    def reordered(self, order: Sequence[int]) -> JournalSamples:
        """The same samples in another order, given as positions in this one."""
        return JournalSamples(self._path, [self._places[at] for at in order])

    def __iter__(self) -> Iterator[SampleRecord]:
        if not self._places:
            return
        with self._path.open("rb") as stream:
            for place in self._places:
                stream.seek(place.offset)
                line = stream.read(place.size)
                try:
                    yield SampleRecord.model_validate_json(line)
                except ValidationError as fault:
                    what = f"not a SampleRecord: {fault.errors()[0]['msg']}"
                    raise StoreError(Problem(f"{self._path} at byte {place.offset}", what)) from fault


def index(path: Path) -> dict[Asked, Place]:
    """Every sample of a journal by what was asked; of one that was asked again the later line counts.

    A torn last line is left out: it is still owed. Raises StoreError for a line that is no sample.
    """
    found: dict[Asked, Place] = {}
    if not path.exists():
        return found
    offset = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.endswith(b"\n") and line != b"\n":
                try:
                    told = json.loads(line)
                    key = (told["task"], told["id"], told["repeat"], told["item_digest"])
                    found[key] = Place(offset, len(line) - 1, told["error"] is not None)
                except (ValueError, KeyError, TypeError) as fault:
                    raise StoreError(Problem(f"{path}:{number}", f"not a SampleRecord: {fault}")) from fault
            offset += len(line)
    return found
