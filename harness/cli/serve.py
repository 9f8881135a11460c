"""`harness serve`: what was judged, served on this machine until Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from harness.cli import console
from harness.cli.options import Reports
from harness.errors import EngineError, Problem
from harness.store import Store

if TYPE_CHECKING:
    from harness.releasing.serving import Plan, Ready

Wanted = Annotated[
    str, typer.Argument(metavar="ID|ALIAS", help="An experiment, or an alias such as production.", show_default=False)
]
Port = Annotated[int, typer.Option("--port", help="Port that is listened on.", min=1, max=65535)]
Host = Annotated[str, typer.Option("--host", help="Address; any but loopback needs a key in HARNESS_SERVE_KEY.")]
Print = Annotated[bool, typer.Option("--print", help="Print the server's command and a curl line; start nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout when it is ready.")]
LOOK_S = 0.5
"""How often it is looked whether the server still runs."""


def serve(
    wanted: Wanted,
    port: Port = 8000,
    host: Host = "127.0.0.1",
    print_: Print = False,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Serve a candidate with vLLM exactly as it was judged, and print a curl line that works. Ctrl-C ends it.

    Exit codes: 0 ended by Ctrl-C, 1 the server cannot start, died or answers otherwise, 2 cannot be served so.
    """
    from harness.releasing import serving

    progress = console.ConsoleProgress()
    key = os.environ.get(serving.KEY_VARIABLE, "").strip()
    made = serving.plan(serving.find(Store(reports), wanted), host, port, key, progress.note)
    if print_:
        _printed(made, json)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a supervisor's end is as clean as Ctrl-C
    try:
        with serving.serve(made, progress.note) as ready:
            _ready(made, ready, json)
            while ready.engine.running():
                time.sleep(LOOK_S)
            raise EngineError(Problem(made.url, "the server ended", next="Its last lines are in its log"))
    except KeyboardInterrupt:
        progress.note("stopped")


def _printed(made: Plan, json: bool) -> None:
    if json:
        console.print_json({**_told(made), "command": made.command, "curl": made.curl()})
        return
    print(f"{made.command}\n\n{made.curl()}")  # plain, to be copied: rich would wrap it
    _notes(made)


def _ready(made: Plan, ready: Ready, json: bool) -> None:
    repeated, curl = ready.repeated, made.curl(ready.engine.ends)
    if json:
        differ = [dict(zip(("id", "judged", "now"), one, strict=True)) for one in repeated.differ]
        again = {"asked": repeated.asked, "same": repeated.same, "differ": differ, "note": repeated.note}
        parity = ready.parity.model_dump(mode="json") if ready.parity else None
        console.print_json({**_told(made), "curl": curl, "judged_answers": again, "parity": parity})
        return
    if repeated.asked:
        note = f" ({repeated.note})" if repeated.note else ""
        text = f"parity: {repeated.same} of {repeated.asked} judged questions answered as they were judged{note}"
    else:
        text = f"parity: no judged question was asked again: {repeated.note}"
    console.out.print(Text(console.plain(text), style="green" if repeated.same == repeated.asked else "yellow"))
    for id_, then, now in repeated.differ:
        console.out.print(Text(console.plain(f"  {id_}: {now!r}, was {then!r}"), style="yellow"))
    if ready.parity is not None:
        (row,) = ready.parity.adapters
        nats = f"{max(row.base or 0.0, row.tuned or 0.0):.2g} nats a token apart at most"
        console.out.print(f"        as in the process that trained it: {nats}", markup=False)
    console.out.print(f"ready on {made.url}, model {made.served.public.name}; Ctrl-C ends it\n", markup=False)
    print(curl, flush=True)
    _notes(made)


def _notes(made: Plan) -> None:
    for note in made.notes:
        console.err.print(Text(console.plain(f"note: {note}"), style="dim"))


def _told(made: Plan) -> dict[str, Any]:
    deployed, notes = made.deployed, list(made.notes)
    alias = deployed.move.alias if deployed.move else None
    who = {"experiment": deployed.folder.id, "alias": alias, "candidate": deployed.candidate.name}
    return {**who, "url": made.url, "model": made.served.public.name, "notes": notes}
