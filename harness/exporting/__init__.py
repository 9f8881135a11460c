"""Exports for deployment, each of them judged again in its own form before anyone is told to use it.

source      what is exported: a candidate with its base model      forms    what each form writes, and who runs it
judging     the smoke gate: the same questions again               served   vLLM's command, Dockerfile, compose file
drifting    how far it is from the training process
ollama      the Modelfile and its template                         gguf     llama.cpp's file format
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, get_args

from harness import artifacts
from harness.errors import Problem, StoreError, UsageError, did_you_mean
from harness.exporting.drifting import probe_drift
from harness.exporting.forms import FORMS, Made, Making, check, prompts
from harness.exporting.judging import Questions, Terms, judge, questions
from harness.exporting.source import Source, bring
from harness.progress import Progress
from harness.records import ExportFormat, ExportRecord, RejudgedRecord
from harness.store import Store

__all__ = ["FORMATS", "Exported", "Source", "Terms", "Wanted", "bring", "export", "finish"]

FORMATS: Final[tuple[ExportFormat, ...]] = get_args(ExportFormat)
UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
"""What a system says of a place that cannot be written; any other fault is told as it is."""
RECORD, UNFIT, UNDECIDED = "export.json", "UNFIT.md", "UNDECIDED.md"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    what: str
    """Id of an experiment, or an alias."""
    format: str
    out: Path | None = None
    """A new folder; by default `exports/<name>--<format>` beside here."""
    quantization: str = "f16"
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of it."""

    record: ExportRecord
    path: Path


def export(store: Store, wanted: Wanted, progress: Progress) -> Exported:
    """Export a candidate, judge it again, and put it in its place, whole or not at all.

    Raises UsageError for an unknown format, a place that is taken, or a candidate that the form cannot hold;
    StoreError for a full disk; and as the parts do.
    """
    format = _known(wanted.format)
    source = bring(store, wanted.what, progress.note)
    target = wanted.out or Path("exports") / _default_name(source, format, wanted.quantization)
    if target.exists():
        raise UsageError(Problem(str(target), "exists", next="Name another folder (--out), or remove it"))
    check(format, source, wanted.quantization)
    asked = questions(source, wanted.terms) if wanted.terms.samples else None
    with _staging(target) as folder:
        progress.stage(f"export as {format}")
        conversations = prompts(source, asked) if asked is not None else ()
        made = FORMS[format](Making(source, folder, wanted.quantization, conversations, progress.note))
        record = finish(source, format, made, folder, asked, wanted.terms, progress)
        folder.rename(target)
    try:
        source.folder.write_export(record)
    except StoreError:
        shutil.rmtree(target, ignore_errors=True)  # without its record nobody could tell what it is
        raise
    return Exported(record, target)


def finish(
    source: Source, format: ExportFormat, made: Made, folder: Path, asked: Questions | None, terms: Terms,
    progress: Progress,
) -> ExportRecord:  # fmt: skip
    """Judge what was made, mark it where it is not shown to be fit, and write its record beside it."""
    judged: RejudgedRecord | None = None
    apart: float | None = None
    if asked is not None:
        progress.stage("judge it again")
        with made.engine_of() as (engine, adapter):
            apart = probe_drift(source, engine, adapter)
            judged = judge(source, asked, engine, adapter, terms, progress)
    for name, text in made.after(judged).items():
        (folder / name).write_text(text, encoding="utf-8")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    record = ExportRecord(
        experiment=source.folder.id,
        format=format,
        quantization=made.quantization,
        alias=source.alias,
        candidate=source.candidate,
        decision=source.decision,
        tool=made.tool,
        files=tuple(files),
        digest=artifacts.digest_folder(folder),
        size=sum((folder / name).stat().st_size for name in files),
        merge_drift=made.drift,
        probe_drift=apart,
        rejudged=judged,
        notes=made.notes,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
    )
    (folder / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if judged is not None and judged.outcome != "pass":
        (folder / (UNFIT if record.unfit else UNDECIDED)).write_text(_marked(record, judged), encoding="utf-8")
    return record


def _marked(record: ExportRecord, judged: RejudgedRecord) -> str:
    """What stands in the export itself for whoever finds it."""
    title = "Unfit: do not deploy" if record.unfit else "Undecided: not shown to be fit"
    lines = [f"# {title}", "", f"Judged again on {judged.n} test items: {judged.reason}.", ""]
    lines += [f"- {one.id}: judged {one.judged!r}, exported {one.exported!r}" for one in judged.changed]
    return "\n".join(lines) + "\n"


def _known(format: str) -> ExportFormat:
    for known in FORMATS:
        if format == known:
            return known
    raise UsageError(Problem("--format", f"unknown format {format!r}", did_you_mean(format, list(FORMATS))))


def _default_name(source: Source, format: ExportFormat, quantization: str) -> str:
    form = f"{format}-{quantization}" if format in ("gguf", "ollama") else format
    return f"{source.folder.id}--{form}"


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder beside the target, gone whatever ends the block, unless it was renamed to its place."""
    staging = target.with_name(f".{target.name}.incoming")
    if staging.exists():
        with _alone(staging, target):  # else of one that was killed
            shutil.rmtree(staging, ignore_errors=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        with _alone(staging, target):
            yield staging
    except OSError as fault:
        if fault.errno not in UNWRITABLE:
            raise
        hint = "Free some disk, or name another place (--out)"
        raise StoreError(Problem(str(target), f"cannot be written: {fault.strerror or fault}", next=hint)) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _alone(staging: Path, target: Path) -> Iterator[None]:
    """Held while an export is made. Raises StoreError where another process makes one for the same place."""
    held = os.open(staging, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            what = "another process exports to this place"
            raise StoreError(Problem(str(target), what, next="Wait for it, or end it")) from fault
        yield
    finally:
        os.close(held)
