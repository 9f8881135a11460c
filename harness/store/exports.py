"""The records of an experiment's exports, numbered in the order in which they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.records import ExportRecord
from harness.store.files import read_record, write_file

EXPORTS: Final = "exports"
"""Their folder."""


def read(folder: Path) -> list[ExportRecord]:
    """All exports of an experiment, the latest last."""
    found = [read_record(path, ExportRecord) for path in sorted((folder / EXPORTS).glob("*.json"))]
    return sorted(found, key=lambda record: record.created)


def write(folder: Path, record: ExportRecord) -> Path:
    """Write a record under the next number of its form; none is ever written over."""
    form = "-".join(filter(None, (record.format, record.quantization)))
    number = 1 + len(list((folder / EXPORTS).glob(f"{form}-[0-9]*.json")))
    while (path := folder / EXPORTS / f"{form}-{number}.json").exists():
        number += 1
    write_file(path, record.model_dump_json(indent=2) + "\n")
    return path
