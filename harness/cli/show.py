"""How results look on a terminal: verdicts, listings, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.text import Text

from harness import evidence, money
from harness.cli import console, tables
from harness.cli.tables import LEFT, RIGHT
from harness.errors import Problem, StoreError, UsageError, did_you_mean
from harness.records import ComparisonRecord, RunRecord, VerdictRecord
from harness.store import ExperimentStore, Store

if TYPE_CHECKING:
    from harness.compare import Flip

REASONED = 300
"""Characters of a reasoning that a comparison shows; all of it is in --json."""

# ------------------------------------------------------------------- experiments


def verdict(folder: ExperimentStore, record: VerdictRecord) -> None:
    """The end of a run: contestants, gates, decision."""
    experiment(folder)
    console.out.print(f"\nreport       {folder.path / 'report.md'}", markup=False)
    console.out.print(f"             {folder.path / 'report.html'}", markup=False)
    console.out.print("leaderboard  harness ui", markup=False)


def experiment(folder: ExperimentStore) -> None:
    """One experiment with all that is known of it: contestants, gates, then the verdict."""
    known = evidence.gather(folder)
    console.out.print(Text(folder.id, style="bold"))
    if known.hypothesis:
        console.out.print(Text(console.plain(f"hypothesis: {known.hypothesis}"), style="dim"))
    for section in tables.sections(folder, known):
        console.out.print()
        console.out.print(section)
    console.out.print()
    _verdict(known)


def _verdict(known: evidence.Evidence) -> None:
    """The decision in one sentence, why gates did not pass, and what it stands on."""
    record = known.verdict
    if record is None:
        on = f"harness gate --again {known.id}" if known.is_gate else "harness run"
        console.out.print(f"unfinished: no {', no '.join(known.missing)} yet; `{on}` goes on", markup=False)
        return
    label, style = console.DECISIONS[record.decision]
    told = evidence.headline(known).partition(": ")[2]
    console.out.print(Text.assemble((label, style), console.plain(f"  {told}")))
    for gate in known.deciding_gates:
        if gate.outcome != "pass":
            console.out.print(Text(console.plain(f"{evidence.gate_name(gate)}: {gate.reason}")))
    for what, value in evidence.standing(known):
        console.out.print(Text(console.plain(f"{what}: {value}"), style="dim"))
    for warning in record.warnings:
        console.out.print(Text(console.plain(f"note: {warning}"), style="dim"))


def document(folder: ExperimentStore) -> dict[str, Any]:
    """One experiment as JSON: every record, runs without their samples."""
    known = evidence.gather(folder)

    def dump(record: Any) -> Any:
        return None if record is None else record.model_dump(mode="json")

    return {
        "experiment": folder.id,
        "folder": str(folder.path),
        "spec": folder.spec(),
        "headline": evidence.headline(known),
        "verdict": dump(known.verdict),
        "provenance": dump(known.provenance),
        "data": dump(known.data),
        "prompt": dump(known.prompt),
        "sweep": dump(known.sweep),
        "training": dump(known.training),
        "forgetting": dump(known.forgetting),
        "runs": [dump(run) for run in known.runs],
        "money": _money(known),
        "comparisons": [dump(comparison) for comparison in folder.comparisons()],
    }


def _money(known: evidence.Evidence) -> dict[str, Any]:
    """Costs as numbers; null is not known."""
    prices = money.prices_of(known)
    seconds, cost = money.so_far(known, prices)
    return {
        "prices": prices.model_dump(mode="json"),
        "seconds": seconds,
        "cost": None if cost is None else asdict(cost),
        "stages": [asdict(part) for part in money.spent(known.spent, prices)],
        "candidates": [asdict(one) for one in money.costs_of(known, prices)],
        "break_even": [{**asdict(one), "told": one.told} for one in money.break_evens(known, prices)],
    }


def listing(store: Store) -> list[dict[str, Any]]:
    """A row per experiment, newest first, with the aliases that point to it."""
    try:
        aliases = evidence.aliases_of(store)
    except StoreError:  # told by `experiments`
        aliases = {}
    return [{**row, "aliases": aliases.get(row["experiment"], [])} for row in evidence.summaries(store)]


def experiments(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    """`harness ls`."""
    damaged = store.damaged()
    if not rows and not damaged:
        text = f"No experiments in {store.root}. Make one: harness run suites/tickets/experiment.yaml"
        console.out.print(text, markup=False)
        _broken_pointers(store)
        return
    shown: list[list[str | Text]] = []
    for row in rows:
        label, style = console.DECISIONS.get(row["decision"], ("unfinished", "dim"))
        told = [row[name] or evidence.DASH for name in ("margin", "certainty", "claim", "looks")]
        shown.append([row["experiment"], Text(label.lower(), style=style), *told])
    columns = [("experiment", LEFT), ("verdict", LEFT), ("against best prompt", RIGHT), ("interval", LEFT)]
    columns += [("claim", LEFT), ("look", LEFT)]
    if any(row["aliases"] for row in rows):
        columns.append(("deployed as", LEFT))
        shown = [[*cells, ", ".join(row["aliases"])] for cells, row in zip(shown, rows, strict=True)]
    console.out.print(console.table("", columns, shown))
    _broken_pointers(store)
    for name, reason in damaged.items():
        console.err.print(Text(f"left out: {name}: {reason}", style="yellow"))


def _broken_pointers(store: Store) -> None:
    try:
        faults = [f"{name} {one.fault}" for name, one in evidence.pointers(store).items() if one.fault]
    except StoreError as unread:
        faults = [str(unread)]
    for fault in faults:
        console.err.print(Text(console.plain(f"broken: {fault}"), style="bold red"))


# --------------------------------------------------------------------- comparison


def find_run(store: Store, wanted: str, suite: str) -> tuple[ExperimentStore, RunRecord]:
    """A run named as ID:RUN, where RUN is a run id or a candidate's name. Raises UsageError."""
    name, colon, run_name = wanted.rpartition(":")
    if not colon:
        hint = "A run is ID:RUN, e.g. latest:best_prompt; `harness show ID --json` lists the runs"
        raise UsageError(Problem("harness compare", f"{wanted!r} names no run", hint))
    folder = store.find(name)
    ids = folder.run_ids()
    run_id = run_name if run_name in ids else f"{run_name}--{suite}--test"
    run = folder.run(run_id)
    if run is None:
        raise UsageError(Problem(folder.id, f"no run {run_id!r}", did_you_mean(run_id, ids)))
    return folder, run


def comparison(record: ComparisonRecord, flips: Sequence[Flip], limit: int) -> None:
    """`harness compare`: the difference, then what flipped."""
    counts = f"{record.won} / {record.lost} / {record.tied} / {record.unscored}"
    rows = [
        ["candidate", record.candidate, evidence.number(record.candidate_mean)],
        ["reference", record.reference, evidence.number(record.reference_mean)],
        ["difference", evidence.compared(record).basis, evidence.compared(record).shown],
        ["samples", "won / lost / tied / unscored", counts],
    ]
    columns = [("", LEFT), ("", LEFT), ("", LEFT)]
    console.out.print(console.table(f"{record.suite}, {record.metric}", columns, rows))
    for direction, title in (("lost", "lost: worse than the reference"), ("won", "won: better than the reference")):
        some = [flip for flip in flips if flip.direction == direction]
        if not some:
            continue
        console.out.print(f"\n[bold]{title}[/bold] ({min(limit, len(some))} of {len(some)})")
        for flip in some[:limit]:
            console.out.print(f"  {escape(flip.task)} {escape(flip.id)}: {escape(tables.line(flip.question))}")
            console.out.print(f"    gold      {escape(tables.line(flip.target))}", style="dim")
            console.out.print(f"    candidate {escape(tables.line(flip.candidate_answer))}")
            _reasoning(flip.candidate_reasoning)
            console.out.print(f"    reference {escape(tables.line(flip.reference_answer))}")
            _reasoning(flip.reference_reasoning)


def _reasoning(text: str | None) -> None:
    """How an answer was come by, where the prompt asked for reasoning first; its end, which led to the answer."""
    if text:
        plain = tables.line(text, len(text))
        cut = "…" if len(plain) > REASONED else ""
        console.out.print(escape(f"      after   {cut}{plain[-REASONED:]}"), style="dim")
