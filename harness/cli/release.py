"""`harness promote`, `harness rollback`, `harness aliases`: what is deployed, moved and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harness.cli import console
from harness.cli.options import Json, Reports
from harness.errors import Problem, UsageError, did_you_mean
from harness.records import ReleaseRecord
from harness.store import Store

if TYPE_CHECKING:
    from harness.releasing import Moved

LEFT, RIGHT = "left", "right"

WantedId = Annotated[
    str, typer.Argument(metavar="ID", help="An experiment's id, a unique part of it, `latest`, or another alias.")
]
Alias = Annotated[str, typer.Option("--alias", help="Which pointer: production, staging, or any name.")]
Why = Annotated[str, typer.Option("--why", help="Why, in your words; it is recorded.", show_default=False)]
By = Annotated[str | None, typer.Option("--by", help="Who moves it; default you.", show_default=False)]
Override = Annotated[
    str | None,
    typer.Option("--override", metavar="REASON", help="Deploy it although it was not judged promote; recorded."),
]
To = Annotated[
    str | None, typer.Option("--to", metavar="ID|NUMBER", help="An earlier move's number, or its experiment.")
]
Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="One alias, with its history.", show_default=False)]


def promote(
    wanted: WantedId,
    alias: Alias = "production",
    override: Override = None,
    why: Why = "",
    by: By = None,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Point an alias to an experiment's candidate, if it was judged promote and all of it is still there.

    Exit codes: 0 it points there now (or did already), 2 not judged promote, 1 gone, changed, or moved meanwhile.
    """
    from harness import evidence, releasing

    store = Store(reports)
    _tell(releasing.promote(store, evidence.named(store, wanted), alias, override=override, why=why, by=by), json)


def rollback(
    alias: Alias = "production",
    to: To = None,
    why: Why = "",
    by: By = None,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Point an alias to what it pointed to before; of several rollbacks in a row, further back.

    Exit codes: 0 it points there now, 2 there is none before, 1 gone, changed, or moved meanwhile.
    """
    from harness import releasing

    _tell(releasing.rollback(Store(reports), alias, to, why=why, by=by), json)


def aliases(name: Name = None, reports: Reports = None, json: Json = False) -> None:
    """Where each alias points; of one, its history too."""
    from harness import evidence

    store = Store(reports)
    found = evidence.pointers(store)
    if name is not None and name not in found:
        hint = did_you_mean(name, list(found)) if found else "Nothing was promoted yet: harness promote ID"
        raise UsageError(Problem(str(store.registry.path), f"no alias {name!r}", hint))
    shown = {alias: one for alias, one in found.items() if name in (None, alias)}
    history = store.registry.history(name) if name is not None else []
    if json:
        now = [{**one.move.model_dump(mode="json"), "fault": one.fault or None} for one in shown.values()]
        past = {"history": [move.model_dump(mode="json") for move in history]} if name is not None else {}
        console.print_json({"aliases": now, **past})
        return
    if not shown:
        console.out.print("Nothing was promoted yet: harness promote ID", markup=False)
        return
    _table([one.move for one in shown.values()], "")
    for alias, one in shown.items():
        if one.fault:
            console.err.print(Text(console.plain(f"broken: {alias} {one.fault}"), style="bold red"))
    if history:
        console.out.print()
        _table(history[::-1], "history, newest first")


def _table(moves: list[ReleaseRecord], title: str) -> None:
    columns = [("alias", LEFT), ("move", RIGHT), ("", LEFT), ("experiment", LEFT), ("candidate", LEFT)]
    columns += [("verdict", LEFT), ("by", LEFT), ("when, UTC", LEFT), ("why", LEFT)]
    rows: list[list[str | Text]] = []
    for move in moves:
        label, style = console.DECISIONS.get(move.decision or "", ("none", "dim"))
        why = "; ".join(filter(None, (move.why, f"overridden: {move.override}" if move.override else "")))
        done = move.action if move.back_to is None else f"{move.action} to {move.back_to}"
        row = [move.alias, str(move.number), done, move.experiment, move.candidate.name]
        rows.append([*row, Text(label.lower(), style=style), move.by, move.created[:16].replace("T", " "), why])
    console.out.print(console.table(title, columns, rows))


def _tell(done: Moved, json: bool) -> None:
    """What came of a move."""
    now, before = done.release, done.before
    if json:
        was = before.model_dump(mode="json") if before else None
        told = {"moved": done.moved, "release": now.model_dump(mode="json"), "before": was, "notes": list(done.notes)}
        console.print_json(told)
        return
    where = f"{now.experiment}, {now.candidate.name}"
    if not done.moved:
        text = (
            f"{now.alias} points to {where} already (move {now.number}, {now.by}, {now.created}); nothing was changed"
        )
    elif before is None:
        text = f"{now.alias} points to {where}"
    else:
        text = f"{now.alias} points to {where}; before: {before.experiment}, {before.candidate.name}"
    console.out.print(console.plain(text), markup=False)
    if now.override and done.moved and now.action == "promote":
        console.out.print(console.plain(f"overridden, and recorded: {now.override}"), markup=False)
    for note in done.notes:
        console.err.print(Text(console.plain(f"note: {note}"), style="dim"))
