"""The audit of one file as `harness data audit` asks for it: the file, what it must not give away, and its length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from harness import suites
from harness.data import suspects
from harness.data.labels import Balance
from harness.data.length import Lengths, measure
from harness.data.lines import RawRow
from harness.data.policy import AuditSpec
from harness.data.repetition import Held
from harness.data.scan import Scan, Source, examples_of, found_by, held_rows, scan
from harness.data.tables import rows_of
from harness.data.wording import bare
from harness.errors import DataError, Problem
from harness.records import Finding, Item


@dataclass(frozen=True, slots=True)
class FileAudit:
    """What the audit of one file found."""

    file: str
    rows: int
    formats: dict[str, int]
    findings: tuple[Finding, ...]
    balance: Balance | None = None
    lengths: Lengths | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What a reader should know beside the findings."""

    def about(self) -> dict[str, Any]:
        """The part of the JSON document beside rows and findings."""
        labels = None
        if self.balance is not None:
            labels = {
                "majority": self.balance.majority,
                "share": round(self.balance.share, 4),
                "labels": len(self.balance.labels),
            }
        return {
            "file": self.file,
            "formats": self.formats,
            "labels": labels,
            "tokens": None if self.lengths is None else self.lengths.document(),
            "notes": list(self.notes),
        }


def open_rows(file: str, columns: Mapping[str, str] | None = None, near: Path = Path()) -> Source:
    """The file, ready to be read as often as needed."""
    return partial(_rows, file, near, columns)


def _rows(file: str, near: Path, columns: Mapping[str, str] | None) -> Iterator[RawRow]:
    return rows_of(file, near, columns, strict=True)


def held_out(
    file: str, files: Mapping[str, Sequence[str]], suite_names: Sequence[str] = ()
) -> tuple[list[Held], frozenset[str]]:
    """Every evaluation row of these files (by split) and suites, and the answers of the files.

    Raises DataError when one of them is `file` itself, the one that must not hold them, or cannot be read.
    """
    rows: list[Held] = []
    answers: set[str] = set()
    for where, names in files.items():
        for name in names:
            if Path(name).resolve() == Path(file).resolve():
                hint = f"Name the file with the {where} rows"
                raise DataError(Problem(f"--{where} {name}", "is the very file that is looked at", next=hint))
            more, given = held_rows(open_rows(name), where)
            rows += more
            answers |= given
    for name in suite_names:
        rows += suite_rows(suites.load_suite(name, near=Path()))
    return rows, frozenset(answers)


def suite_rows(suite: suites.Suite) -> list[Held]:
    """The questions of a suite that training rows must not give away."""
    return [
        Held(item.id, f"suite {suite.name}", _asked(item), item.target) for task in suite.tasks for item in task.items
    ]


def _asked(item: Item) -> str:
    """What a suite item asks; whole sentences that are compared ask nothing, and the right one must not be learned."""
    asked = "\n".join(turn.content for turn in item.messages) or item.text or ""
    return asked if asked.strip() else item.target


def audit_file(
    file: str,
    spec: AuditSpec | None = None,
    held: Mapping[str, Sequence[str]] | None = None,
    suites: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    model: str | None = None,
    max_length: int | None = None,
) -> FileAudit:
    """Audit one file against the evaluation files `held` (by split) and suites.

    Raises DataError when a file cannot be read, and the errors of suites and models.
    """
    spec = spec or AuditSpec()
    source = open_rows(file, columns)
    rows, answers = held_out(file, held or {}, suites)
    found = scan(source, file, spec, rows, answers)
    doubtful = _doubtful(source, file, spec, found.balance)
    lengths, cut = (None, ()) if model is None else measure(examples_of(source), file, model, max_length, spec)
    findings = tuple(sorted((*found.findings, *doubtful, *cut), key=lambda f: f.line))
    return FileAudit(file, found.rows, found.formats, findings, found.balance, lengths, _notes(found, lengths))


def _doubtful(source: Source, file: str, spec: AuditSpec, balance: Balance | None) -> tuple[Finding, ...]:
    """Likely label errors, where the answers are labels and the libraries are there."""
    if balance is None or not suspects.installed() or spec.action("label_error") == "ignore":
        return ()
    rows = (
        suspects.Labelled(example.line, bare(question), example.answer.strip())
        for example, question in examples_of(source)
        if example.answer.strip() in balance.labels
    )
    return found_by(suspects.suspects(list(islice(rows, suspects.MOST_ROWS))), file, spec)


def _notes(found: Scan, lengths: Lengths | None) -> tuple[str, ...]:
    balance, notes = found.balance, []
    if balance is None and found.rows:
        notes.append(
            f"{found.refusals} answers refuse" if found.refusals else "no answer refuses: refusing is not taught"
        )
    if balance is not None:
        notes.append(
            f"{len(balance.labels)} labels; always giving the most frequent one is right in {balance.share:.1%} of rows"
        )
        if not suspects.installed():
            notes.append(f"likely label errors were not looked for: {suspects.INSTALL}")
    if lengths is not None:
        notes.append(lengths.told())
    return tuple(notes)
