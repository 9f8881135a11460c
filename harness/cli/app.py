"""Every command: its arguments, its one call, its exit code."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

import harness
from harness.cli import cancel, console, data, export, gate, monitor, plan, release, scaffold, serve, suite
from harness.cli.options import Json, Policy, Reports
from harness.errors import HarnessError, Problem, Stopped, UsageError
from harness.records import EXIT_CODES
from harness.store import Store

app = typer.Typer(
    name="harness",
    help="Every fine-tune is a gated experiment: best prompt first, then training, then a verdict with its evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DECIDE, LOOK, DEPLOY, AROUND = "Decide", "Look", "Deploy", "Around"
"""Groups of commands in the help."""
app.add_typer(data.app, name="data", rich_help_panel=AROUND)
app.add_typer(suite.app, name="suite", rich_help_panel=AROUND)

SpecPath = Annotated[Path, typer.Argument(help="An experiment YAML.", show_default=False)]
WantedId = Annotated[str, typer.Argument(metavar="ID", help="An experiment's id, a unique part of it, or `latest`.")]


def _version(wanted: bool) -> None:
    if wanted:
        console.out.print(harness.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel=DECIDE)
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")], json: Json = False) -> None:
    """Write a new experiment (spec and example data) that runs as it stands."""
    written = scaffold.write(folder)
    if json:
        console.print_json({"folder": str(folder), "files": [str(path) for path in written]})
        return
    for path in written:
        console.out.print(f"wrote {path}", markup=False)
    console.out.print(
        f"\nNow: harness check {folder / 'experiment.yaml'}\nthen harness run {folder / 'experiment.yaml'}"
    )


@app.command(rich_help_panel=DECIDE)
def check(
    spec: SpecPath,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 11 when a blocking gate cannot be decided.")] = False,
    policy: Policy = None,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Validate spec, suites and data; audit the data; say what each gate can decide. Touches no model.

    Exit codes: 0, or 11 under --strict when a blocking gate cannot be decided; 1 error, 2 bad spec.
    """
    from harness import preflight
    from harness import spec as specs
    from harness.cli import preflighting

    found = preflight.check(specs.load(spec, policy), Store(reports))
    if json:
        console.print_json(found.model_dump(mode="json"))
    else:
        preflighting.display(found)
    if strict and found.warnings:
        raise typer.Exit(EXIT_CODES["inconclusive"])


@app.command(rich_help_panel=DECIDE)
def run(spec: SpecPath, policy: Policy = None, reports: Reports = None, json: Json = False) -> None:
    """Run or resume an experiment to its verdict.

    Exit codes: 0 promote, 10 reject, 11 inconclusive, 12 prompt suffices, 1 error, 2 bad spec, 13 not comparable.
    """
    from harness import pipeline
    from harness import spec as specs
    from harness.cli import show

    store = Store(reports)
    try:
        verdict = pipeline.run(specs.load(spec, policy), store, console.ConsoleProgress())
    except KeyboardInterrupt as fault:
        raise Stopped(Problem("", "stopped", next="The same command goes on from here")) from fault
    folder = store.at(verdict.experiment)
    if json:
        console.print_json({**verdict.model_dump(mode="json"), "folder": str(folder.path)})
    else:
        show.verdict(folder, verdict)
    raise typer.Exit(verdict.exit_code)


@app.command(rich_help_panel=DECIDE)
def sweep(spec: SpecPath, policy: Policy = None, reports: Reports = None) -> None:
    """Help with the sweep of an experiment that runs on this machine: take trials until there is none left."""
    from harness import pipeline
    from harness import spec as specs

    try:
        pipeline.help_sweep(specs.load(spec, policy), Store(reports), console.ConsoleProgress())
    except KeyboardInterrupt as fault:
        raise Stopped(Problem("", "stopped", next="Whoever takes trials goes on from here")) from fault


@app.command(rich_help_panel=LOOK)
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Candidate run, as ID:RUN, e.g. latest:tuned-seed0.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Reference run, as ID:RUN, e.g. latest:best_prompt.")],
    suite: Annotated[str, typer.Option(help="Suite of both runs, where RUN is a candidate's name.")] = "task",
    metric: Annotated[str, typer.Option(help="Metric or measure; default each task's own first one.")] = "primary",
    task: Annotated[str, typer.Option(help="One task of the suite.")] = "*",
    slice: Annotated[str | None, typer.Option(help="Only items with this property, as name=value.")] = None,
    limit: Annotated[int, typer.Option(help="Flipped samples to show each way.")] = 5,
    judged: Annotated[bool, typer.Option("--judged", help="Ask the judge of A's spec which answer is better.")] = False,
    labels: Annotated[Path | None, typer.Option(help="With --judged: JSONL of people's verdicts.")] = None,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Paired comparison of two runs, with the samples that flipped."""
    from harness import compare as comparing
    from harness.cli import preferring, show

    store = Store(reports)
    (store_a, run_a), (store_b, run_b) = (show.find_run(store, wanted, suite) for wanted in (a, b))
    if judged or labels:
        preferring.compare(store_a, run_a, (run_b, store_b.samples(run_b.id)), labels, json)
        return
    samples_a, samples_b = store_a.samples(run_a.id), store_b.samples(run_b.id)
    pairs = comparing.join([(run_a, samples_a)], (run_b, samples_b), task=task, metric=metric, slice=slice)
    record = pairs.record()
    names = {name: first for name, first in run_a.primary.items() if task in ("*", name)}
    inside = [s for s in samples_a if slice is None or slice in (f"{k}={v}" for k, v in s.slices.items())]
    flipped = comparing.flips(inside, samples_b, names if metric == "primary" else dict.fromkeys(names, metric))
    if json:
        flips = [flip.model_dump(mode="json") for flip in flipped]
        console.print_json({"comparison": record.model_dump(mode="json"), "flips": flips})
    else:
        show.comparison(record, flipped, limit)


@app.command("ls", rich_help_panel=LOOK)
def list_(reports: Reports = None, json: Json = False) -> None:
    """List experiments with their verdicts, newest first."""
    from harness.cli import show

    store = Store(reports)
    rows = show.listing(store)
    if json:
        console.print_json({"experiments": rows, "damaged": store.damaged()})
    else:
        show.experiments(store, rows)


@app.command("show", rich_help_panel=LOOK)
def show_(wanted: WantedId, reports: Reports = None, json: Json = False) -> None:
    """Show one experiment: verdict, gates, contestants."""
    from harness.cli import show

    folder = Store(reports).find(wanted)
    if json:
        console.print_json(show.document(folder))
    else:
        show.experiment(folder)


@app.command("report", rich_help_panel=LOOK)
def report_(wanted: WantedId, reports: Reports = None, json: Json = False) -> None:
    """Rebuild the report files (markdown, HTML, JUnit, model card, data card) from the records."""
    from harness import report

    paths = [str(path) for path in report.write_reports(Store(reports).find(wanted))]
    if json:
        console.print_json({"written": paths})
    else:
        for path in paths:
            console.out.print(f"wrote {path}", markup=False)


@app.command(rich_help_panel=LOOK)
def ui(
    reports: Reports = None,
    port: Annotated[int, typer.Option(help="Port on the loopback address.")] = 8501,
) -> None:
    """Open the Streamlit leaderboard on the loopback address."""
    import importlib.util
    import os

    page = Path(harness.__file__).resolve().parent.parent / "app.py"
    if importlib.util.find_spec("streamlit") is None:
        raise UsageError(Problem("harness ui", "streamlit is not installed", next="pip install 'finetune-harness[ui]'"))
    environment = {**os.environ, **({"HARNESS_REPORTS": str(reports.resolve())} if reports else {})}
    command = [sys.executable, "-m", "harness.ui", "run", str(page), "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--browser.gatherUsageStats", "false"]
    os.execve(sys.executable, command, environment)  # noqa: S606  in this process's place: what ends it ends the server


app.command("plan", rich_help_panel=DECIDE)(plan.plan)
app.command("gate", rich_help_panel=DEPLOY)(gate.gate)
app.command("monitor", rich_help_panel=DEPLOY)(monitor.monitor)
app.command("cancel", rich_help_panel=AROUND)(cancel.cancel)
app.command("promote", rich_help_panel=DEPLOY)(release.promote)
app.command("rollback", rich_help_panel=DEPLOY)(release.rollback)
app.command("aliases", rich_help_panel=DEPLOY)(release.aliases)
app.command("serve", rich_help_panel=DEPLOY)(serve.serve)
app.command("export", rich_help_panel=DEPLOY)(export.export)


@app.command("doctor", rich_help_panel=AROUND)
def doctor_(json: Json = False) -> None:
    """What this machine can do: GPU, memory, engines found, what is missing and how to install it."""
    from harness.cli import doctor

    found = doctor.examine()
    if json:
        console.print_json(found)
    else:
        doctor.display(found)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every error a user can meet ends in one clear message and its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows ASCII only gets question marks, no error
    try:
        app(given)
    except HarnessError as error:
        _end(error, given)
    except OSError as fault:
        where = str(fault.filename or "")
        hint = "Look at the permissions, the free space and the path"
        _end(HarnessError(Problem(where, f"the system refuses: {fault.strerror or fault}", next=hint)), given)
    except SystemExit as leaving:
        if leaving.code == UsageError.exit_code and "--json" in given:  # the usage itself went to stderr
            _print_json_error(UsageError(Problem("harness", "wrong usage", next="See harness -h")))
        raise


def _end(error: HarnessError, given: list[str]) -> None:
    if "--json" in given:
        _print_json_error(error)
    console.print_error(error)
    sys.exit(error.exit_code)


def _print_json_error(error: HarnessError) -> None:
    console.print_json({"error": {"exit_code": error.exit_code, "problems": [str(p) for p in error.problems]}})


__all__ = ["app", "main"]
