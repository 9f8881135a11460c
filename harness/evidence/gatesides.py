"""The two sides of a deploy gate as people read them: who, what that is, and whose answers were taken over."""

from __future__ import annotations

from harness.evidence.gathered import Evidence
from harness.records import SideRecord

KINDS = {
    "adapter": "adapter folder",
    "model": "model folder",
    "url": "model at a URL",
    "experiment": "candidate of",
    "run": "run of",
    "alias": "alias, candidate of",
    "base": "base model",
}


def side_rows(evidence: Evidence) -> list[tuple[str, str, str, str]]:
    """Side, as it was named, what that is, and where each of its runs came from; empty for an experiment."""
    if evidence.gated is None:
        return []
    found = []
    for name, side in (("candidate", evidence.gated.candidate), ("reference", evidence.gated.reference)):
        found.append((name, side.given, _what(side), _answers(evidence, name)))
    return found


def _what(side: SideRecord) -> str:
    told = KINDS[side.kind]
    told += f" {side.experiment}" if side.experiment else ""
    told += f" (move {side.move})" if side.move is not None else ""
    who = side.candidate
    weights = f"{who.model.name}" + (f" + {who.adapter.method} {who.adapter.digest[:8]}" if who.adapter else "")
    return f"{told}: {weights}" if side.kind != "base" or side.given == "base" else told


def _answers(evidence: Evidence, name: str) -> str:
    """`task of tickets--1a2b3c4d; regression-core asked here`."""
    runs = sorted((run for run in evidence.runs if run.candidate.name == name), key=lambda run: run.suite != "task")
    taken = evidence.gated.reused if evidence.gated else {}
    told = [f"{run.suite} of {taken[run.id].partition(':')[0]}" for run in runs if run.id in taken]
    asked = [run.suite for run in runs if run.id not in taken]
    return "; ".join([*told, *([f"{', '.join(asked)} asked here"] if asked else [])])


def again(evidence: Evidence, reports: str = "reports") -> str:
    """The command that runs it again as it stands."""
    return (
        f"harness gate --again {evidence.id}" if evidence.is_gate else f"harness run {reports}/{evidence.id}/spec.yaml"
    )
