"""The samples behind a gate: which ones a candidate won and lost, in the slice that explains the outcome."""

from __future__ import annotations

from dataclasses import dataclass

from harness import evidence as ev
from harness.records import GateRecord
from harness.store import ExperimentStore


@dataclass(frozen=True)
class Flips:
    """Two candidates on one suite or one slice of it: how often each won, and examples."""

    title: str
    candidate: str
    reference: str
    won: int
    lost: int
    examples: tuple[tuple[str, ev.Joined], ...]
    """Lost ones first: what a candidate breaks is what a reader must see."""


def flips(experiment: ExperimentStore, evidence: ev.Evidence, limit: int) -> list[Flips]:
    """The flipped samples behind every comparison that decided; without gates, what the best prompt changed."""
    sides = {
        (found.suite, cut_of(gate), ev.who(found.candidate)[0], ev.who(found.reference)[0]): None
        for gate in evidence.deciding_gates
        if (found := gate.comparison) and found.higher_is_better  # of scores: what is slower did not flip
    }
    made = []
    for suite, cut, candidate, reference in sides or {("task", None, ev.BAR, ev.RAW): None}:
        wanted = {run.candidate.name: run for run in evidence.runs if (run.suite, run.split) == (suite, "test")}
        runs = [wanted[name] for name in (candidate, reference) if name in wanted]
        if len(runs) < 2:
            continue
        joined = [(row.flip(candidate, reference), row) for row in ev.join(experiment, runs, cut)]
        won, lost = ([pair for pair in joined if pair[0] == kind] for kind in ("won", "lost"))
        title = suite if cut is None else f"{suite}, {cut}"
        made.append(Flips(title, candidate, reference, len(won), len(lost), (*lost[:limit], *won[:limit])))
    return made


def cut_of(gate: GateRecord) -> str | None:
    """The slice whose samples explain a gate: its own, or the worst one unless that passed."""
    if gate.slices:
        worst = ev.slices_worst_first(gate)[0]
        return None if worst.outcome == "pass" else worst.slice
    return gate.slice
