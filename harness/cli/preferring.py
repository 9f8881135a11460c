"""`harness compare --judged`: which candidate's answers a judge prefers, and how far it agrees with people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import evidence
from harness.cli import console
from harness.compare import Scored, win_rate
from harness.judgement import preferred
from harness.records import ComparisonRecord, RunRecord
from harness.reviewing import Preferred, as_pairs
from harness.store import ExperimentStore

HEADINGS = (("", "left"), ("", "left"), ("", "left"))


def compare(folder: ExperimentStore, run: RunRecord, reference: Scored, labels: Path | None, json: bool) -> None:
    """Ask the judge for every pair of answers, and print its preference."""
    people = None if labels is None else preferred.read_labels(labels)  # its faults come before any call
    candidate = run, folder.samples(run.id)
    judged = preferred.judge_pairs(folder, candidate, reference, None, console.ConsoleProgress())
    record = as_pairs(judged, candidate, reference).record()
    agreed = None if people is None else preferred.agreement(judged, people)
    if json:
        document: dict[str, Any] = {
            "judge": judged[0].judge,
            "comparison": record.model_dump(mode="json"),
            "win_rate": win_rate(record.difference).model_dump(mode="json"),
            "agreement": agreed and {name: one.model_dump(mode="json") for name, one in _parts(agreed).items()},
            "judged": [one.model_dump(mode="json") for one in judged],
        }
        console.print_json(document)
    else:
        _show(judged, record, agreed)


def _parts(agreed: preferred.Agreement) -> dict[str, Any]:
    return {"share": agreed.share, "kappa": agreed.kappa}


def _show(judged: list[Preferred], record: ComparisonRecord, agreed: preferred.Agreement | None) -> None:
    rate = win_rate(record.difference)
    counts = f"{record.won} / {record.lost} / {record.tied} / {record.unscored}"
    calls = f"{sum(one.calls for one in judged):,}"
    rows = [
        ["candidate", record.candidate, ""],
        ["reference", record.reference, ""],
        ["win rate", "ties count as half", f"{evidence.span(rate)}, n = {rate.n}, {rate.method}"],
        ["pairs", "won / lost / tied / unscored", counts],
        ["calls", "each pair both ways round; orders that disagree tie", calls],
    ]
    if agreed is not None:
        for name, one in (("share of equal verdicts", agreed.share), ("Cohen's kappa", agreed.kappa)):
            rows.append(["agreement with people", name, f"{evidence.span(one)}, n = {one.n}, {one.method}"])
    console.out.print(console.table(f"{record.suite}, preference of {judged[0].judge}", HEADINGS, rows))
