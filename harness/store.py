"""The only reader and writer of `reports/`: write-once records, the manifest last, no pickles.

    reports/<name>--<digest8>/
        spec.yaml  provenance.json  conditions.json  data.json  prompt.json  training.json
        comparisons.jsonl  verdict.json  report.md  report.html
        runs/<run id>/samples.jsonl  run.json
        journal/<name>.jsonl         answers of a stage that is under way
        logs/                        what engines printed

A record that exists is complete: files are written beside their place and renamed.
A run is complete when its `run.json` exists; until then `samples.jsonl` grows by a
line per sample, and a torn last line is a sample still owed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import yaml
from pydantic import ValidationError

from harness.errors import HarnessError, Problem, StoreError, UsageError, did_you_mean
from harness.records import (
    SCHEMA_VERSION,
    Candidate,
    ComparisonRecord,
    Conditions,
    DataRecord,
    PromptRecord,
    Provenance,
    Record,
    RunRecord,
    SampleRecord,
    TrainingRecord,
    VerdictRecord,
    digest,
)

R = TypeVar("R", bound=Record)

FILES: dict[type[Record], str] = {
    Provenance: "provenance.json",
    Conditions: "conditions.json",
    DataRecord: "data.json",
    PromptRecord: "prompt.json",
    TrainingRecord: "training.json",
    VerdictRecord: "verdict.json",
}
"""One file per record type, in the order in which they appear."""


def default_root() -> Path:
    """`HARNESS_REPORTS`, else `reports` in the current folder."""
    return Path(os.environ.get("HARNESS_REPORTS", "reports"))


def write_file(path: Path, text: str) -> None:
    """Write the whole file or nothing: beside its place, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staging.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        staging.replace(path)
    except OSError as fault:
        staging.unlink(missing_ok=True)
        raise StoreError(
            Problem(str(path), f"cannot write: {fault.strerror}", next="Free the disk; run again.")
        ) from fault


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
        hint = f"This program reads schema version {SCHEMA_VERSION}."
        raise StoreError(Problem(where, f"not a {kind.__name__}: {first['msg']}", hint)) from fault


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


class Journal:
    """An append-only JSON-lines file in which each line is durable once `append` returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._stream: IO[bytes] = path.open("ab+")
        self._cut_torn_line()

    def _cut_torn_line(self) -> None:
        """After a crash the last line may be half written; it is cut off, so that it is asked again."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            self._stream.truncate(whole)

    def append(self, records: Sequence[Record]) -> None:
        """Write the records and flush them to disk."""
        try:
            self._stream.write(b"".join(record.model_dump_json().encode() + b"\n" for record in records))
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as fault:
            hint = "Free the disk; run again."
            raise StoreError(Problem(str(self.path), f"cannot write: {fault.strerror}", next=hint)) from fault

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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

    def write(self, record: Record) -> None:
        """Write a stage's record, once. Writing another one over it is refused."""
        path = self.path / FILES[type(record)]
        if path.exists():
            hint = "Records are write-once; delete the experiment's folder to start over."
            raise StoreError(Problem(str(path), "exists already", next=hint))
        write_file(path, record.model_dump_json(indent=2) + "\n")

    def spec(self) -> dict[str, Any]:
        """The resolved spec as a mapping."""
        try:
            loaded = yaml.safe_load((self.path / "spec.yaml").read_bytes())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
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
        """
        lines = read_lines(self.path / "runs" / run_id / "samples.jsonl", SampleRecord)
        return list({(line.task, line.id, line.repeat): line for line in lines}.values())

    def sample_journal(self, run_id: str) -> Journal:
        """Where an evaluation appends its samples."""
        return Journal(self.path / "runs" / run_id / "samples.jsonl")

    def verified_samples(self, run: RunRecord) -> list[SampleRecord]:
        """A complete run's samples, proven to be the ones that its manifest summarises."""
        samples = self.samples(run.id)
        if samples_digest(samples) != run.samples_digest:
            where = str(self.path / "runs" / run.id / "samples.jsonl")
            hint = "Restore it, or delete the run's folder and verdict.json and run again"
            raise StoreError(Problem(where, "was changed after the run was finished", next=hint))
        return samples

    def finish_run(self, run: RunRecord, samples: Sequence[SampleRecord]) -> None:
        """Write a run's samples whole and in order, then its manifest, which makes it complete."""
        folder = self.path / "runs" / run.id
        if (folder / "run.json").exists():
            raise StoreError(Problem(str(folder / "run.json"), "exists already", next="Records are write-once."))
        if samples_digest(samples) != run.samples_digest:
            raise ValueError(f"{run.id}: these are not the samples that were summarised")
        write_file(folder / "samples.jsonl", "".join(sample.model_dump_json() + "\n" for sample in samples))
        write_file(folder / "run.json", run.model_dump_json(indent=2) + "\n")

    def copy_run(self, run: RunRecord, candidate: Candidate, run_id: str) -> RunRecord:
        """The same answers under another name: a second run of a candidate equal by content."""
        copied = run.model_copy(update={"id": run_id, "candidate": candidate})
        self.finish_run(copied, self.verified_samples(run))
        return copied

    # -------------------------------------------------------------------- others

    def journal(self, name: str) -> Journal:
        """A journal for a stage under way, e.g. the prompt race."""
        return Journal(self.path / "journal" / f"{name}.jsonl")

    def journal_lines(self, name: str, kind: type[R]) -> list[R]:
        """What a journal holds so far."""
        return read_lines(self.path / "journal" / f"{name}.jsonl", kind)

    def comparisons(self) -> list[ComparisonRecord]:
        """All comparisons that gates looked at."""
        return read_lines(self.path / "comparisons.jsonl", ComparisonRecord)

    def write_comparisons(self, comparisons: Sequence[ComparisonRecord]) -> None:
        """Write all comparisons at once; they are derived from runs, so rewriting is harmless."""
        text = "".join(comparison.model_dump_json() + "\n" for comparison in comparisons)
        write_file(self.path / "comparisons.jsonl", text)

    def write_report(self, name: str, text: str) -> Path:
        """Write `report.md` or `report.html`; views may be rebuilt at any time."""
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
        with (self.path / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as fault:
                hint = "Wait for it, or end it."
                raise StoreError(Problem(str(self.path), "another process works on it", next=hint)) from fault
            yield


class Store:
    """The folder of all experiments."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def at(self, experiment_id: str) -> ExperimentStore:
        """The folder that an experiment has or would have; writes nothing."""
        return ExperimentStore(self.root / experiment_id)

    def create(self, experiment_id: str, spec_yaml: str) -> ExperimentStore:
        """Open an experiment's folder, made with its resolved spec when it is new."""
        path = self.root / experiment_id
        if not (path / "spec.yaml").exists():
            write_file(path / "spec.yaml", spec_yaml)
        return ExperimentStore(path)

    def ids(self) -> list[str]:
        """All experiment folders, newest first."""
        if not self.root.is_dir():
            return []
        folders = [p for p in self.root.iterdir() if p.is_dir() and (p / "spec.yaml").exists()]
        return [
            p.name for p in sorted(folders, key=lambda p: ((p / "spec.yaml").stat().st_mtime, p.name), reverse=True)
        ]

    def experiments(self) -> list[ExperimentStore]:
        """All experiments, newest first."""
        return [ExperimentStore(self.root / name) for name in self.ids()]

    def damaged(self) -> dict[str, str]:
        """Folders that are no experiments or whose records cannot be read, with the reason."""
        faults: dict[str, str] = {}
        folders = sorted(p for p in self.root.iterdir() if p.is_dir()) if self.root.is_dir() else []
        for folder in folders:
            if not (folder / "spec.yaml").exists():
                faults[folder.name] = "no spec.yaml: not an experiment"
                continue
            try:
                experiment = ExperimentStore(folder)
                experiment.spec()
                for kind in FILES:
                    experiment.read(kind)
                experiment.runs()
                experiment.comparisons()
            except HarnessError as fault:
                faults[folder.name] = str(fault)
        return faults

    def find(self, wanted: str) -> ExperimentStore:
        """An experiment by its id, a unique part of its id, or its folder. `latest` is the newest."""
        ids = self.ids()
        if wanted == "latest" and ids:
            return ExperimentStore(self.root / ids[0])
        as_path = Path(wanted)
        if as_path.is_dir() and (as_path / "spec.yaml").exists():
            return ExperimentStore(as_path)
        exact = [name for name in ids if name == wanted]
        found = exact or [name for name in ids if name.startswith(wanted)] or [n for n in ids if wanted in n]
        if len(found) == 1:
            return ExperimentStore(self.root / found[0])
        if found:
            hint = f"It fits {', '.join(found)}. Give more of it."
            raise UsageError(Problem(str(self.root), f"experiment {wanted!r} is not unique", hint))
        hint = did_you_mean(wanted, ids) if ids else "The store is empty; make an experiment with `harness run SPEC`."
        raise UsageError(Problem(str(self.root), f"no experiment {wanted!r}", hint))


def samples_digest(samples: Sequence[SampleRecord]) -> str:
    """Content identity of a run's answers, independent of the order in which they came.

    Timings do not count: the same answers given slower are the same evidence.
    """
    rows = sorted(samples, key=lambda s: (s.task, s.id, s.repeat))
    return digest([json.loads(row.model_dump_json(exclude={"latency_s"})) for row in rows])
