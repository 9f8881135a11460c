"""Samples of a finished run as one compressed Parquet file: its form, and the way there and back without loss."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from harness.errors import Problem, StoreError
from harness.records import SampleRecord, canonical_json
from harness.store.files import unwritable
from harness.store.owed import JournalSamples

ROWS: Final = 2048
"""Samples in a row group: what is held in memory while a file is written or read."""

SCHEMA: Final = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("repeat", pa.int32(), nullable=False),
        pa.field("item_digest", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("scores", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("error", pa.string()),
        pa.field("unscored", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("reasoning", pa.string()),
        pa.field("retrieved", pa.list_(pa.string()), nullable=False),
        pa.field("logprobs", pa.list_(pa.float64())),
        pa.field("finish", pa.string()),
        pa.field("tokens_in", pa.int64()),
        pa.field("tokens_out", pa.int64()),
        pa.field("latency_s", pa.float64()),
        pa.field("cluster", pa.string()),
        pa.field("slices", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)
"""Columns in the order of SampleRecord's fields; a map is a list of (key, value) pairs in pandas."""
MAPS: Final = ("scores", "unscored", "slices")
LATER: Final = frozenset({"unscored"})
"""Columns that files of an earlier version lack."""


def write_samples(path: Path, samples: Iterable[SampleRecord]) -> None:
    """Write the whole file or nothing: beside its place, flushed to disk, then renamed."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(staging, SCHEMA, compression="zstd") as writer:
            for group in _grouped(samples):
                writer.write_table(as_table(group))
        with staging.open("rb") as stream:
            os.fsync(stream.fileno())
        staging.replace(path)
    except OSError as fault:
        with contextlib.suppress(OSError):
            staging.unlink(missing_ok=True)
        raise unwritable(path, fault) from fault


def as_table(samples: Sequence[SampleRecord]) -> pa.Table:
    """Samples as columns."""
    columns = {name: [getattr(sample, name) for sample in samples] for name in SCHEMA.names}
    for name in MAPS:
        columns[name] = [list(mapping.items()) for mapping in columns[name]]
    return pa.table(columns, schema=SCHEMA)


def read_columns(path: Path, columns: Sequence[str], rows: Sequence[int] | None = None) -> pa.Table:
    """Some columns of a file, of the rows given (0-based, in their order) or of all.

    Reads the row groups alone that hold these rows. Raises StoreError when the file cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            table = file.read(columns=there) if rows is None else _taken(file, there, rows)
    except (OSError, pa.ArrowException, IndexError) as fault:
        raise StoreError(Problem(str(path), f"cannot be read: {fault}")) from fault
    for name in set(columns) - set(there):
        table = table.append_column(
            SCHEMA.field(name).with_nullable(True), pa.nulls(len(table), SCHEMA.field(name).type)
        )
    return table.select(list(columns))


def _taken(file: pq.ParquetFile, columns: list[str], rows: Sequence[int]) -> pa.Table:
    ends = list(itertools.accumulate(file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)))
    groups = sorted({bisect.bisect_right(ends, row) for row in rows})
    starts, held = dict[int, int](), 0
    for group in groups:
        starts[group] = held
        held += file.metadata.row_group(group).num_rows
    table = file.read_row_groups(groups, columns=columns)
    places = [
        starts[group] + row - (ends[group - 1] if group else 0)
        for row in rows
        for group in [bisect.bisect_right(ends, row)]
    ]
    return table.take(pa.array(places, pa.int64()))


def read_samples(path: Path) -> Iterator[SampleRecord]:
    """The samples of a file, in its order. Raises StoreError when it cannot be read or holds something else."""
    hint = "Restore the file, or delete the run's folder and verdict.json and run again"
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if names != [name for name in SCHEMA.names if name in names or name not in LATER]:
                raise StoreError(Problem(str(path), f"has the columns {names}", next=hint))
            for batch in file.iter_batches(batch_size=ROWS):
                for row in batch.to_pylist():
                    yield SampleRecord.model_validate(_plain(row))
    except (OSError, pa.ArrowException, ValidationError) as fault:
        raise StoreError(Problem(str(path), f"cannot be read: {fault}", next=hint)) from fault


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: dict(row[name]) for name in MAPS if name in row}


def _grouped(samples: Iterable[SampleRecord]) -> Iterator[list[SampleRecord]]:
    it = iter(samples)
    while group := list(itertools.islice(it, ROWS)):
        yield group


def samples_digest(samples: Sequence[SampleRecord]) -> str:
    """Content identity of a run's answers, independent of the order in which they came.

    Timings do not count: the same answers given slower are the same evidence. It is the digest of the list of
    all records in canonical JSON, sorted by task, id and repeat, taken without ever holding that text.
    """
    if isinstance(samples, JournalSamples) and samples.digest is not None:
        return samples.digest
    keys = [(sample.task, sample.id, sample.repeat) for sample in samples]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    whole = hashlib.sha256(b"[")
    rows = samples.reordered(order) if isinstance(samples, JournalSamples) else [samples[at] for at in order]
    for number, row in enumerate(rows):
        whole.update(b"," if number else b"")
        whole.update(canonical_json(row.model_dump(mode="json", exclude={"latency_s"})).encode())
    whole.update(b"]")
    if isinstance(samples, JournalSamples):
        samples.digest = whole.hexdigest()
    return whole.hexdigest()
