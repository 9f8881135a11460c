"""How a deploy gate looks on a terminal, and as one JSON document."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from harness import evidence
from harness.cli import console, show, tables
from harness.deploying import failing_samples
from harness.deploying.telling import NAMED
from harness.records import VerdictRecord
from harness.store import ExperimentStore

LEFT = tables.LEFT


def display(folder: ExperimentStore) -> None:
    """Sides, gates, failing samples, the verdict and where its report is."""
    show.experiment(folder)
    known = evidence.gather(folder)
    if known.decision != "promote":
        _failing(folder, known)
    console.out.print(f"\nreport       {folder.path / 'report.md'}", markup=False)
    console.out.print(f"             {folder.path / 'report.html'}", markup=False)
    console.out.print(f"again        {evidence.again(known)}", markup=False)


def _failing(folder: ExperimentStore, known: evidence.Evidence) -> None:
    """The samples that speak against each gate, a few of each."""
    for one in failing_samples(folder, known):
        if not one.samples:
            continue
        rows: list[list[str | Text]] = [
            [sample.title, sample.expected, sample.got, sample.before or ""] for sample in one.samples[:NAMED]
        ]
        count = len(one.samples)
        shown = f"{min(NAMED, count)} of {count:,}"
        columns = [("sample", LEFT), ("expected", LEFT), ("got", LEFT), ("reference", LEFT)]
        console.out.print()
        console.out.print(console.table(f"against {evidence.gate_name(one.gate)} ({shown})", columns, rows))


def document(folder: ExperimentStore, verdict: VerdictRecord) -> dict[str, Any]:
    """The verdict with its folder, its sides and the failing samples."""
    known = evidence.gather(folder)
    failing = [
        {
            "gate": evidence.gate_name(one.gate),
            "count": len(one.samples),
            "samples": [
                {"word": sample.word, "task": sample.task, "id": sample.id, "expected": sample.expected,
                 "got": sample.got, "reference": sample.before, "error": sample.error or None}
                for sample in one.samples
            ],
        }
        for one in (failing_samples(folder, known) if known.decision != "promote" else [])
    ]  # fmt: skip
    gated = None if known.gated is None else known.gated.model_dump(mode="json")
    return {**verdict.model_dump(mode="json"), "folder": str(folder.path), "gated": gated, "failing": failing}
