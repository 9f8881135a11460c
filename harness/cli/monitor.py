"""`harness monitor`: one look at production logs, what changed, and whether to train again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from harness.cli import console
from harness.cli.options import Json, Reports
from harness.errors import Problem, UsageError
from harness.records import CanaryRecord, MonitorRecord
from harness.store import Store

if TYPE_CHECKING:
    from harness.monitoring import Look, Reference

LEFT, RIGHT = "left", "right"

Logs = Annotated[
    list[str],
    typer.Option("--logs", metavar="FILE|URL", help="Production logs: JSONL, .gz, a folder, a URL; repeatable."),
]
Against = Annotated[
    str | None,
    typer.Option("--against", metavar="ID", help="Experiment, or alias, that gives the reference."),
]
Deployment = Annotated[
    str | None,
    typer.Option(help="Whose logs they are; looks of one name go on from each other.", show_default=False),
]
Policy = Annotated[Path | None, typer.Option("--policy", help="YAML: retrain: {every: 90d, on: [drift, quality]}.")]
Judge = Annotated[int, typer.Option("--judge", metavar="N", help="Let the experiment's judge grade N answers.", min=0)]
Canary = Annotated[
    tuple[str, str] | None, typer.Option("--canary", metavar="NEW OLD", help="Compare two versions in the logs.")
]
Suggest = Annotated[
    Path | None, typer.Option("--suggest-rows", metavar="FILE", help="Write rows worth labelling, as JSONL.")
]
Rows = Annotated[int, typer.Option("--rows", help="With --suggest-rows: how many at most.", min=1)]
Accept = Annotated[
    str | None, typer.Option("--accept", metavar="REASON", help="These requests are the new normal; bets begin anew.")
]


def monitor(
    logs: Logs,
    against: Against = None,
    deployment: Deployment = None,
    policy: Policy = None,
    judge: Judge = 0,
    canary: Canary = None,
    suggest_rows: Suggest = None,
    rows: Rows = 100,
    accept: Accept = None,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Look at production logs: volume, latency, errors, form, drift, quality, with alarms that hold at any time.

    Exit codes: 0 nothing is due; retraining is due: 20 quality, 21 drift, 22 age; 1 error, 2 bad logs or policy.
    """
    from harness import evidence, monitoring

    store = Store(reports)
    if accept is not None and not accept.strip():
        raise UsageError(Problem("--accept", "got an empty text", next="Say why this is the new normal"))
    if suggest_rows is not None and suggest_rows.exists():
        raise UsageError(Problem(str(suggest_rows), "exists", next="Name another file, or remove it"))
    terms = monitoring.read_policy(policy)
    reference = monitoring.Reference() if against is None else monitoring.of_experiment(evidence.named(store, against))
    name = deployment or reference.experiment or "production"
    read = monitoring.read_logs(logs)
    wanted = monitoring.Wanted(name, terms, accept, judge, canary, console.ConsoleProgress().note)
    made = monitoring.look(store.monitoring, read, reference, wanted)
    written = None if suggest_rows is None else _suggested(made, reference, suggest_rows, rows)
    if json:
        document = {**made.record.model_dump(mode="json"), "exit_code": monitoring.exit_code(made.record.due)}
        console.print_json({**document, "suggested": written})
    else:
        display(made.record)
        if written is not None:
            console.out.print(f"\nwrote {written['rows']} rows worth labelling to {written['file']}", markup=False)
    raise typer.Exit(monitoring.exit_code(made.record.due))


def _suggested(made: Look, reference: Reference, path: Path, most: int) -> dict[str, str | int]:
    from harness import monitoring

    found = monitoring.suggest(made.requests, reference, made.placed, made.scores, most)
    monitoring.write(path, found)
    return {"file": str(path), "rows": len(found)}


def display(look: MonitorRecord) -> None:
    """One look on a terminal."""
    against = f" against {look.against}" if look.against else " against its own past"
    console.out.print(Text(console.plain(f"{look.deployment}{against}, look {look.number}"), style="bold"))
    console.out.print()
    console.out.print(console.table("", [("", LEFT), ("", LEFT), ("", LEFT)], _facts(look)))
    if look.tests:
        console.out.print()
        console.out.print(_tests(look))
    console.out.print()
    console.out.print(_streams(look))
    if look.canary is not None:
        console.out.print()
        console.out.print(_canary(look.canary))
    console.out.print()
    label, style = (f"ALARM: {', '.join(look.alarms)}", "bold red") if look.alarms else ("no alarm", "green")
    causes = f"  by {', '.join(look.causes)}" if look.causes else ""
    console.out.print(Text.assemble((label, style), console.plain(causes)))
    if look.due:
        console.out.print(Text(f"retraining is due: {', '.join(look.due)}", style="bold yellow"))
    for fault in look.faults:
        console.out.print(Text(console.plain(f"broken: {fault}"), style="dim"))
    for note in look.notes:
        console.out.print(Text(console.plain(f"note: {note}"), style="dim"))


def _facts(look: MonitorRecord) -> list[list[str]]:
    from harness import evidence

    count, days = look.count, len(look.per_day)
    told = f"{count.before:,} counted before, {count.broken:,} broken lines"
    rows = [["requests", f"{count.new:,} new" + (f" over {days} days" if days else ""), told]]
    for name, seconds in look.latency.items():
        rows.append([f"latency {name}", f"{evidence.span(seconds)} s", f"n = {seconds.n:,}"])
    for name, share, basis in (
        ("errors", look.errors, ""),
        ("valid form", look.valid, look.form),
        ("quality", look.quality, look.scored_by or "no labels, scores or judge"),
    ):
        shown = evidence.span(share) if share.n else "not measured"
        rows.append([name, shown, ", ".join(filter(None, (f"n = {share.n:,}", basis)))])
    if look.versions:
        rows.append(["versions", ", ".join(f"{name} {n:,}" for name, n in list(look.versions.items())[:5]), ""])
    return rows


def _tests(look: MonitorRecord) -> Table:
    columns = [("drift of this look", LEFT), ("reference", RIGHT), ("now", RIGHT), ("p", RIGHT), ("p, Holm", RIGHT)]
    columns += [("n", RIGHT), ("moved most", LEFT)]
    rows = []
    for test in look.tests:
        ends = [f"{value:.4g}" if value is not None else "" for value in (test.median_reference, test.median)]
        n = f"{test.n:,} / {test.n_reference:,}"
        rows.append([test.feature, *ends, f"{test.p:.2g}", f"{test.p_corrected:.2g}", n, "; ".join(test.moved[:2])])
    return console.table("", columns, rows)


def _streams(look: MonitorRecord) -> Table:
    columns = [("bets over all looks", LEFT), ("alarm", LEFT), ("requests", RIGHT), ("capital", RIGHT), ("most", RIGHT)]
    rows = [[s.feature, s.watched, f"{s.seen:,}", _capital(s.log_e), _capital(s.log_e_most)] for s in look.streams]
    wanted = f"alarm at {_capital(look.threshold)}"
    rows += [[f"all of {kind}", wanted, "", "", _capital(most)] for kind, most in look.evidence.items()]
    return console.table("", columns, rows)


def _canary(record: CanaryRecord) -> Table:
    from harness import evidence

    how = f"{record.paired:,} questions that both answered" if record.paired else "independent samples"
    title = f"canary {record.candidate} against {record.reference}: {how}"
    columns = [("measure", LEFT), ("new", LEFT), ("old", LEFT), ("difference", LEFT), ("p, Holm", RIGHT)]
    rows = [
        [line.measure, *(evidence.span(part) for part in (line.candidate, line.reference, line.difference)),
         "" if line.p_corrected is None else f"{line.p_corrected:.2g}"]
        for line in record.lines
    ]  # fmt: skip
    return console.table(title, columns, rows)


def _capital(log: float) -> str:
    """A capital that began with 1; large ones as a power of ten."""
    return f"{2.718281828459045**log:.3g}" if log < 14 else f"10^{log / 2.302585092994046:.0f}"
