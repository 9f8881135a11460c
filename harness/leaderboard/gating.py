"""Frames of one experiment's verdict: gates, their slices, the items that broke, finalists, what it stands on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness import evidence as ev
from harness.records import GateRecord
from harness.store import ExperimentStore

GATE_COLUMNS: dict[str, str] = {
    "gate": "Suite, metric and slice as far as the gate names them, and the reference.",
    "candidate": "The finalist that it judged; missing in records of version 1.",
    "place": "Suite, or one task of it, or the file of items that must not break.",
    "demand": "What the gate demands, in words.",
    "outcome": "pass if the interval lies wholly beyond the margin, fail if wholly short of it, else inconclusive.",
    "found": "The estimate with the ends that decided, in the gate's own unit.",
    "levels": "How sure the ends are: an interval, or each end's chance to err where they differ.",
    "threshold": "What the ends are held against: a signed margin, or a limit.",
    "delta": "Candidate minus reference, item by item, of the worst slice where that decides; missing without one.",
    "better": "Whether a higher or a lower value is better.",
    "low": "Lower end that decided.",
    "high": "Upper end that decided.",
    "margin": "Where the margin lies on the axis of the difference: 0 for a relative one, which scales the reference.",
    "unit": "What the difference counts. `points` are hundredths: the numbers of this frame times 100.",
    "scale": "Shown is the number times this.",
    "reference": "Whom the difference is against, with the factor of a relative margin.",
    "n": "Items that entered.",
    "method": "How the interval was computed.",
    "won": "Items on which the candidate scored higher.",
    "lost": "Items on which the reference scored higher.",
    "tied": "Items with equal scores.",
    "unscored": "Items left out because one side has no score.",
    "blocking": "Blocking gates decide; advisory ones only inform.",
    "reason": "The gate's own sentence.",
}


def gates(experiment: ExperimentStore) -> pd.DataFrame:
    """Every gate with its numbers, those of the judged candidate first; missing where there was no comparison."""
    known = ev.gather(experiment)
    decided = known.deciding_gates
    made = [_gate(gate) for gate in (*decided, *(gate for gate in known.gates if gate not in decided))]
    frame = pd.DataFrame(made, columns=list(GATE_COLUMNS))
    frame = frame.astype(dict.fromkeys(("n", "won", "lost", "tied", "unscored"), "Int64"))
    return frame.astype(dict.fromkeys(("delta", "low", "high", "margin", "scale"), "float64"))


def _gate(gate: GateRecord) -> dict[str, Any]:
    bounds, found = ev.decided_by(gate), gate.comparison
    row: dict[str, Any] = {"gate": ev.gate_name(gate), "candidate": gate.candidate or None, "place": ev.place(gate)}
    row |= {"demand": ev.demand(gate), "outcome": gate.outcome, "found": ev.evidence_shown(gate)}
    row |= {"levels": bounds.levels or None, "threshold": ev.threshold(gate), "n": bounds.n}
    row |= {"method": bounds.method or None, "blocking": gate.blocking, "reason": gate.reason}
    if found:
        row |= dict(zip(("delta", "low", "high"), bounds.read, strict=True)) | {"margin": ev.drawn_margin(gate)}
        row |= {"better": "lower" if bounds.less_is_better else "higher"}
        row |= {"unit": bounds.unit.name, "scale": bounds.unit.scale, "reference": ev.reference_name(gate)}
        row |= {"won": found.won, "lost": found.lost, "tied": found.tied, "unscored": found.unscored}
    return row


def slices(experiment: ExperimentStore) -> pd.DataFrame:
    """Every slice of the gates on the worst of them, gate by gate, the worst first."""
    made = []
    for gate in ev.gather(experiment).gates:
        for one in ev.slices_worst_first(gate):
            shown = ev.slice_bounds(gate, one).shown
            made.append(
                {"gate": ev.gate_name(gate), "candidate": gate.candidate, "slice": one.slice, "outcome": one.outcome}
                | {"found": shown, "n": one.n}
            )
    return pd.DataFrame(made, columns=["gate", "candidate", "slice", "outcome", "found", "n"])


def broken(experiment: ExperimentStore) -> pd.DataFrame:
    """Every must-not-break item that is wrong, with question, gold and answer where its run holds them."""
    known = ev.gather(experiment)
    made = [
        (ev.gate_name(gate), gate.candidate, item.id, item.question, item.target, item.answer)
        for gate in known.gates
        for item in ev.broken_items(experiment, gate, known.runs_of(gate.candidate))
    ]
    return pd.DataFrame(made, columns=["gate", "candidate", "id", "question", "target", "answer"]).astype(object)


def finalists(experiment: ExperimentStore) -> pd.DataFrame:
    """Every candidate that was judged on the test split, best on dev first, with its look and its decision."""
    verdict = ev.gather(experiment).verdict
    made = [
        {"candidate": one.name, "decision": one.decision, "look": ev.look_number(one.look)}
        | {"level": one.look.level, "reason": one.reason}
        for one in (verdict.finalists if verdict else ())
    ]
    return pd.DataFrame(made, columns=["candidate", "decision", "look", "level", "reason"])


def standing(experiment: ExperimentStore) -> pd.DataFrame:
    """What the verdict stands on, as `what`, `value`: claim, look at the test split, family, early stops."""
    return pd.DataFrame(ev.standing(ev.gather(experiment)), columns=["what", "value"])
