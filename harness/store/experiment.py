"""One experiment's folder: its records, its runs, its journals."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import yaml

from harness.errors import Problem, StoreError
from harness.records import (
    Candidate,
    ComparisonRecord,
    Conditions,
    DataRecord,
    ExportRecord,
    ForgettingRecord,
    GatedRecord,
    ParityRecord,
    PromptRecord,
    Provenance,
    Record,
    ReferenceConditions,
    RunRecord,
    SampleRecord,
    SpendingRecord,
    SweepRecord,
    TaughtRecord,
    TrainingRecord,
    VerdictRecord,
    VoteRecord,
)
from harness.store import exports as exporting
from harness.store import votes as voting
from harness.store.files import Journal, load_yaml, read_lines, read_record, write_file
from harness.store.owed import Asked, JournalSamples, Place, index
from harness.store.samples import as_table, read_columns, read_samples, samples_digest, write_samples

R = TypeVar("R", bound=Record)

FILES: dict[type[Record], str] = {
    Provenance: "provenance.json",
    Conditions: "conditions.json",
    ReferenceConditions: "reference_conditions.json",
    DataRecord: "data.json",
    PromptRecord: "prompt.json",
    TaughtRecord: "taught.json",
    SweepRecord: "sweep.json",
    TrainingRecord: "training.json",
    ParityRecord: "parity.json",
    ForgettingRecord: "forgetting.json",
    GatedRecord: "gated.json",
    VerdictRecord: "verdict.json",
}
"""One file per record type, in the order in which they appear."""
SPENDING = "spending.jsonl"
"""What it took; it grows by a line at a time."""


class ExperimentStore:
    """One experiment's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    @property
    def name(self) -> str:
        """The experiment's name, without its digest."""
        return self.id.rpartition("--")[0] or self.id

    # ------------------------------------------------------------ single records

    def read(self, kind: type[R]) -> R | None:
        """A stage's record, or None when that stage is not done."""
        path = self.path / FILES[kind]
        return read_record(path, kind) if path.exists() else None

    def file_digest(self, kind: type[Record]) -> str | None:
        """sha256 over a record's file as it lies there; None without it."""
        path = self.path / FILES[kind]
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

    def write(self, record: Record) -> None:
        """Write a stage's record, once. Writing another one over it is refused."""
        path = self.path / FILES[type(record)]
        if path.exists():
            hint = "Records are write-once; delete the experiment's folder to start over."
            raise StoreError(Problem(str(path), "exists already", next=hint))
        write_file(path, record.model_dump_json(indent=2) + "\n")

    def set_aside_verdict(self) -> None:
        """Keep the verdict that there is under `verdicts/`, numbered, so that another one can be written.

        Only a verdict that waited for votes of people is ever followed by another one.
        """
        path, kept = self.path / FILES[VerdictRecord], self.path / "verdicts"
        if path.exists():
            kept.mkdir(exist_ok=True)
            path.rename(kept / f"{len(list(kept.glob('*.json'))) + 1}.json")

    def spec(self) -> dict[str, Any]:
        """The resolved spec as a mapping."""
        try:
            loaded = load_yaml((self.path / "spec.yaml").read_bytes())
        except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as fault:
            raise StoreError(Problem(str(self.path / "spec.yaml"), f"cannot read: {fault}")) from fault
        return loaded if isinstance(loaded, dict) else {}

    # ---------------------------------------------------------------------- runs

    def run_ids(self) -> list[str]:
        """Complete runs, by name."""
        return sorted(path.parent.name for path in self.path.glob("runs/*/run.json"))

    def run(self, run_id: str) -> RunRecord | None:
        """One complete run, or None."""
        path = self.path / "runs" / run_id / "run.json"
        return read_record(path, RunRecord) if path.exists() else None

    def runs(self) -> list[RunRecord]:
        """All complete runs, by name."""
        return [read_record(self.path / "runs" / run_id / "run.json", RunRecord) for run_id in self.run_ids()]

    def samples(self, run_id: str) -> list[SampleRecord]:
        """Per-sample records of a run; of an unfinished one those that are there.

        A failed call that was asked again stands twice in the file; the later line counts.
        A finished run's samples are proven to be the ones that its manifest summarises.
        """
        run, folder = self.run(run_id), self.path / "runs" / run_id
        path = folder / "samples.parquet"
        if run is None or not path.exists():  # under way, or finished by an earlier version
            path = folder / "samples.jsonl"
        lines = read_samples(path) if path.suffix == ".parquet" else read_lines(path, SampleRecord)
        samples = list({(line.task, line.id, line.repeat): line for line in lines}.values())
        if run is not None and samples_digest(samples) != run.samples_digest:
            hint = "Restore it, or delete the run's folder and verdict.json and run again"
            raise StoreError(Problem(str(path), "was changed after the run was finished", next=hint))
        return samples

    def sample_columns(self, run_id: str, columns: Sequence[str], rows: Sequence[int] | None = None) -> pa.Table:
        """Some columns of a run's samples, of the rows given (0-based, in their order) or of all; for reading alone.

        Only the columns and the row groups that are asked for are read, so the samples are not proven to be those of
        the manifest: what judges asks `samples`. Columns that an earlier version did not write are null.
        """
        path = self.path / "runs" / run_id / "samples.parquet"
        if path.exists():
            return read_columns(path, columns, rows)
        table = as_table(self.samples(run_id)).select(list(columns))
        return table if rows is None else table.take(pa.array(rows, pa.int64()))

    def answered(self, run_id: str) -> dict[Asked, Place]:
        """What a run under way holds, by what was asked; `under_way` reads it."""
        return index(self.path / "runs" / run_id / "samples.jsonl")

    def under_way(self, run_id: str, places: Sequence[Place]) -> JournalSamples:
        """Samples of a run under way, in the order of their places, each read when it is looked at."""
        return JournalSamples(self.path / "runs" / run_id / "samples.jsonl", places)

    def sample_journal(self, run_id: str) -> Journal:
        """Where an evaluation appends its samples."""
        return Journal(self.path / "runs" / run_id / "samples.jsonl")

    def finish_run(self, run: RunRecord, samples: Sequence[SampleRecord]) -> None:
        """Write a run's samples whole and in order, then its manifest, which makes it complete."""
        folder = self.path / "runs" / run.id
        if (folder / "run.json").exists():
            raise StoreError(Problem(str(folder / "run.json"), "exists already", next="Records are write-once."))
        if samples_digest(samples) != run.samples_digest:
            raise ValueError(f"{run.id}: these are not the samples that were summarised")
        write_samples(folder / "samples.parquet", samples)
        write_file(folder / "run.json", run.model_dump_json(indent=2) + "\n")
        (folder / "samples.jsonl").unlink(missing_ok=True)

    def copy_run(self, run: RunRecord, candidate: Candidate, run_id: str) -> RunRecord:
        """The same answers under another name: a second run of a candidate equal by content."""
        copied = run.model_copy(update={"id": run_id, "candidate": candidate})
        self.finish_run(copied, self.samples(run.id))
        return copied

    # -------------------------------------------------------------------- others

    def journal(self, name: str) -> Journal:
        """A journal for a stage under way, e.g. the prompt race."""
        return Journal(self.path / "journal" / f"{name}.jsonl")

    def journal_lines(self, name: str, kind: type[R]) -> list[R]:
        """What a journal holds so far."""
        return read_lines(self.path / "journal" / f"{name}.jsonl", kind)

    def journal_path(self, name: str) -> Path:
        """A journal that a library writes itself, e.g. the trials of a sweep."""
        path = self.path / "journal" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def comparisons(self) -> list[ComparisonRecord]:
        """All comparisons that gates looked at."""
        return read_lines(self.path / "comparisons.jsonl", ComparisonRecord)

    def write_comparisons(self, comparisons: Sequence[ComparisonRecord]) -> None:
        """Write all comparisons at once; they are derived from runs, so rewriting is harmless."""
        text = "".join(comparison.model_dump_json() + "\n" for comparison in comparisons)
        write_file(self.path / "comparisons.jsonl", text)

    def votes(self) -> list[VoteRecord]:
        """What people voted, in the order in which it came; a reviewer's later vote on a pair counts."""
        return voting.read(self.path / voting.VOTES)

    def vote(self, votes: Sequence[VoteRecord]) -> None:
        """Add votes at the end of the file; none is ever changed. Safe for several processes at once."""
        if not (self.path / "spec.yaml").exists():
            raise StoreError(Problem(str(self.path), "is no experiment", next="Vote on one that is in the store."))
        voting.append(self.path / voting.VOTES, votes)

    def spent(self) -> list[SpendingRecord]:
        """What every sitting took, in the order in which it came."""
        return read_lines(self.path / SPENDING, SpendingRecord)

    def spend(self, line: SpendingRecord) -> None:
        """Add a line at the end of what was spent; none is ever changed."""
        with Journal(self.path / SPENDING) as journal:
            journal.append([line])

    def exports(self) -> list[ExportRecord]:
        """What was exported of it, the latest last."""
        return exporting.read(self.path)

    def write_export(self, record: ExportRecord) -> Path:
        """Keep the record of an export beside those before it."""
        return exporting.write(self.path, record)

    def write_report(self, name: str, text: str) -> Path:
        """Write a report file, e.g. `report.md`; views may be rebuilt at any time."""
        write_file(self.path / name, text)
        return self.path / name

    def log_path(self, name: str) -> Path:
        """Where an engine's own output goes."""
        path = self.path / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time works on an experiment; the lock dies with its process."""
        try:
            opened = (self.path / ".lock").open("w")
        except OSError as fault:
            hint = "Make the folder writable, or name another with --reports."
            raise StoreError(Problem(str(self.path), f"cannot write: {fault.strerror}", next=hint)) from fault
        with opened as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as fault:
                hint = "Wait for it, or end it."
                raise StoreError(Problem(str(self.path), "another process works on it", next=hint)) from fault
            yield
