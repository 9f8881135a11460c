"""The verdict of a gate as a pull request shows it: verdict first, a short table, the failing samples named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from harness import evidence as ev
from harness.records import GateRecord
from harness.report import Failing, failing
from harness.report.inert import cell, line
from harness.store import ExperimentStore

NAMED = 10
"""How many failing samples of a gate are named in a comment and on a terminal; junit.xml names more."""
GLYPHS = {"pass": "✅", "fail": "❌", "inconclusive": "❔"}
DECISIONS = {"promote": "✅ passed", "reject": "❌ rejected", "inconclusive": "❔ inconclusive"}


@dataclass(frozen=True, slots=True)
class GateFailing:
    """A gate that did not pass, with the samples that speak against it."""

    gate: GateRecord
    samples: Sequence[Failing]
    """All of them, those without a score last."""


def failing_samples(folder: ExperimentStore, known: ev.Evidence) -> list[GateFailing]:
    """Every gate of a rejected candidate that failed, with its samples; of an undecided one, every gate not passed."""
    failed = [gate for gate in known.deciding_gates if gate.outcome == "fail"]
    shown = failed or [gate for gate in known.deciding_gates if gate.outcome != "pass"]
    return [GateFailing(gate, failing(folder, known, gate)) for gate in shown]


def markdown(folder: ExperimentStore) -> str:
    """A comment for a pull request: the verdict, a line a gate, the rest folded. What models said is inert in it."""
    known = ev.gather(folder)
    ours, theirs = known.sides
    decision = DECISIONS.get(known.decision, known.decision)
    told = [f"### Deploy gate: {decision}", "", f"{cell(ours)} in place of {cell(theirs)}."]
    if known.verdict is not None:
        told[-1] += f" {cell(known.verdict.reason)}"
    told += ["", "| | on | demands | found | n |", "|---|---|---|---|--:|"]
    told += [_row(gate) for gate in known.deciding_gates]
    for one in failing_samples(folder, known):
        if one.samples:
            told += ["", *_samples(one)]
    told += ["", "<details><summary>Sides, looks and notes</summary>", ""]
    told += [f"- {name}: {cell(given)}, {cell(what)}; {cell(runs)}" for name, given, what, runs in ev.side_rows(known)]
    told += [f"- {cell(what)}: {cell(value)}" for what, value in ev.standing(known)]
    told += [f"- note: {cell(warning)}" for warning in (known.verdict.warnings if known.verdict else ())]
    told += ["", "</details>", "", f"`harness show {line(known.id)}`"]
    return "\n".join(told) + "\n"


def _row(gate: GateRecord) -> str:
    n = ev.decided_by(gate).n
    advisory = "" if gate.blocking else " (advisory)"
    cells = [GLYPHS[gate.outcome], cell(ev.place(gate)), cell(ev.demand(gate)) + advisory,
             cell(ev.evidence_shown(gate)), ev.DASH if n is None else f"{n:,}"]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _samples(one: GateFailing) -> list[str]:
    count = len(one.samples)
    head = f"{ev.place(one.gate)}: {count:,} sample{'' if count == 1 else 's'} against it"
    told = [f"<details><summary>{escape(line(head))}</summary>", "", "| sample | expected | got | reference |",
            "|---|---|---|---|"]  # fmt: skip
    for sample in one.samples[:NAMED]:
        texts = (sample.title, sample.expected, sample.got, sample.before or "")
        told.append(f"| {' | '.join(cell(text) for text in texts)} |")
    more = [f"… and {count - NAMED:,} more: `harness show`, junit.xml"] if count > NAMED else []
    return [*told, "", *more, "</details>"]
