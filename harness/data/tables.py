"""Data in any container - JSON lines, CSV, TSV, Parquet, a JSON array, a Hugging Face dataset - as raw rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.formats import FIELDS, guess_columns, map_columns
from harness.data.lines import Fault, RawRow, is_text, json_lines, json_text_row, physical_lines
from harness.errors import DataError, Problem, did_you_mean

MAX_CELL = 16 * 1024 * 1024
"""Characters in one CSV cell; Python's own limit of 128 KiB is too small for documents."""


def rows_of(
    source: str, near: Path = Path(), columns: Mapping[str, str] | None = None, strict: bool = False
) -> Iterator[RawRow]:
    """Every row of a data file or a Hugging Face dataset (`hf:NAME` or `hf:NAME:SPLIT`), streamed.

    `columns` maps the harness's fields to the file's, e.g. {prompt: question, completion: answer}; without it a
    table's usual column names are understood. `strict` says that some row must have each of its columns.
    Raises DataError when there is nothing to read, or the mapping is wrong.
    """
    for field in columns or ():
        if field not in FIELDS:
            raise DataError(Problem(source, f"columns: unknown field {field!r}", did_you_mean(field, FIELDS)))
    hub, guess = source.startswith("hf:"), columns is None
    rows = _hugging_face(source.removeprefix("hf:"), guess) if hub else _file_rows(near / source, guess)
    return rows if columns is None else _renamed(rows, source, columns, strict)


def _file_rows(path: Path, guess: bool) -> Iterator[RawRow]:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _separated(path, "\t" if suffix == ".tsv" else ",", guess)
    if suffix == ".parquet":
        return _parquet(path, guess)
    if suffix == ".json" and _begins_with(path, b"["):
        return _json_array(path)
    return json_lines(path)


def _renamed(rows: Iterator[RawRow], source: str, columns: Mapping[str, str], strict: bool) -> Iterator[RawRow]:
    unused = set(columns.values()) if strict else set()
    names: set[str] = set()
    for row in rows:
        if row.value is None:
            yield row
            continue
        if unused:
            unused -= row.value.keys()
            names |= row.value.keys()
        yield RawRow(row.line, map_columns(row.value, columns), row.faults)
    if unused and names:
        lacking, known = " or ".join(map(repr, sorted(unused))), ", ".join(sorted(names)[:20])
        raise DataError(Problem(source, f"no row has the column {lacking}", f"The rows have {known}"))


def _begins_with(path: Path, sign: bytes) -> bool:
    first = next(physical_lines(path), None)
    return first is not None and first[1].lstrip().startswith(sign)


def _json_array(path: Path) -> Iterator[RawRow]:
    """One file that is one JSON array. It is held in memory, unlike lines; rows keep their physical line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise DataError(Problem(str(path), f"byte {fault.start} is not UTF-8", "UTF-8", "Save it as UTF-8")) from fault
    decoder = json.JSONDecoder()
    at, line = text.index("[") + 1, 1
    counted = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        line += text.count("\n", counted, at)
        counted = at
        if at >= len(text):
            yield RawRow(line, None, (Fault("invalid_json", "the array ends without its ]; rows may be missing"),))
            return
        if text[at] == "]":
            return
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield RawRow(line, None, (Fault("invalid_json", "not JSON from here to the end of the array"),))
            return
        yield json_text_row(line, text[at:end])
        at = end


def _separated(path: Path, delimiter: str, guess: bool) -> Iterator[RawRow]:
    """CSV or TSV with a header line; a quoted cell may span lines."""
    csv.field_size_limit(MAX_CELL)
    bad: dict[int, str] = {}

    def texts() -> Iterator[str]:
        with path.open("rb") as file:
            for number, data in enumerate(file, start=1):
                try:
                    yield data.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as fault:
                    bad[number] = f"byte 0x{data[fault.start]:02x} is not UTF-8; save the file as UTF-8"
                    yield data.decode("utf-8", errors="replace")

    next(physical_lines(path), None)  # the same errors as for JSON lines, where it cannot be read
    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        columns = guess_columns(header) if guess else {}
        done = reader.line_num
        for cells in reader:
            begun, done = done + 1, reader.line_num
            if cells:
                yield _cells_row(begun, header, cells, columns, [bad[n] for n in range(begun, done + 1) if n in bad])
    except csv.Error as fault:
        yield RawRow(reader.line_num, None, (Fault("invalid_json", f"not CSV: {fault}"),))


def _cells_row(line: int, header: list[str], cells: list[str], columns: Mapping[str, str], unread: list[str]) -> RawRow:
    if unread:
        return RawRow(line, None, (Fault("non_utf8", unread[0]),))
    if len(cells) != len(header):
        what = f"got {len(cells)} cells; {len(header)} as in the header"
        return RawRow(line, None, (Fault("missing_field", what),))
    return RawRow(line, map_columns(dict(zip(header, cells, strict=True)), columns))


def _parquet(path: Path, guess: bool) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise DataError(Problem(str(path), "no such file", next="Create it, or correct the path"))
    number = 0
    try:
        file = pq.ParquetFile(path)
        columns = guess_columns(list(file.schema_arrow.names)) if guess else {}
        for batch in file.iter_batches(batch_size=4096):
            for value in batch.to_pylist():
                number += 1
                yield _plain_row(number, map_columns(value, columns))
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise DataError(Problem(str(path), "is no Parquet file that can be read", next=str(fault)[:200])) from fault


def _hugging_face(name: str, guess: bool) -> Iterator[RawRow]:
    """A dataset of the Hugging Face hub or of a local folder, streamed."""
    try:
        import datasets
    except ImportError as fault:
        hint = "pip install 'finetune-harness[train]'"
        raise DataError(Problem(f"hf:{name}", "the datasets library is not installed", next=hint)) from fault
    path, _, split = name.partition(":")
    try:
        stream = datasets.load_dataset(path, split=split or "train", streaming=True)
        columns = guess_columns(list(stream.column_names or ())) if guess else {}
        for number, value in enumerate(stream, start=1):
            yield _plain_row(number, map_columns(value, columns))
    except Exception as fault:  # the library raises whatever its many loaders raise
        what = f"cannot be loaded: {type(fault).__name__}: {str(fault)[:200]}"
        raise DataError(
            Problem(f"hf:{name}", what, "hf:NAME or hf:NAME:SPLIT", "See the name and the network")
        ) from fault


def _plain_row(number: int, value: dict[str, Any]) -> RawRow:
    """A row of typed columns; what JSON cannot say is said as text."""
    row = {name: _plain(cell) for name, cell in value.items() if cell is not None}
    if not is_text(row):
        return RawRow(number, None, (Fault("lone_surrogate", "holds what is not text; remove it"),))
    return RawRow(number, row)


def _plain(cell: Any) -> Any:
    if isinstance(cell, dict):
        return {str(name): _plain(value) for name, value in cell.items() if value is not None}
    if isinstance(cell, list):
        return [_plain(value) for value in cell]
    return cell if isinstance(cell, str | int | float | bool) or cell is None else str(cell)
