"""`harness gate`: any candidate held against what is in its place now; its arguments, its table, its exit code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import console
from harness.cli.options import Json, Reports
from harness.errors import Problem, Stopped, UsageError
from harness.store import Store, write_file

Candidate = Annotated[
    str | None,
    typer.Argument(
        help="An adapter or model folder, a URL, an experiment, EXPERIMENT:RUN or an alias.", show_default=False
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against", metavar="REFERENCE", show_default=False,
        help="An alias (production), an experiment, EXPERIMENT:RUN, a base model; `base` is the candidate's own.",
    ),
]  # fmt: skip
Suites = Annotated[
    list[str] | None,
    typer.Option("--suites",
                 help="Names or folders with commas; `task`: the experiment's test split. Default: the policy's.",
                 show_default=False),
]  # fmt: skip
Policy = Annotated[Path | None, typer.Option("--policy", help="A policy YAML: gates against `reference`, alpha.")]
Model = Annotated[str | None, typer.Option("--model", help="Base model of an adapter; at a URL the model's name.")]
AgainstModel = Annotated[str | None, typer.Option("--against-model", help="The same for the reference.")]
Engine = Annotated[str | None, typer.Option("--engine", help="auto, vllm or transformers; default as in experiments.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the gate's folder; another name, another gate.")]
AsDeployed = Annotated[
    bool, typer.Option("--as-deployed", help="Compare although engine, number type or chat template differ.")
]
Again = Annotated[str | None, typer.Option("--again", metavar="ID", help="Run a stored gate again as it stands.")]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write the gates as JUnit XML, for CI.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="Write a comment for a pull request.")]


def gate(
    candidate: Candidate = None,
    against: Against = None,
    suites: Suites = None,
    policy: Policy = None,
    model: Model = None,
    against_model: AgainstModel = None,
    engine: Engine = None,
    name: Name = None,
    as_deployed: AsDeployed = False,
    again: Again = None,
    junit: Junit = None,
    markdown: Markdown = None,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Gate a candidate against what is in its place now: on suites, and on the task's own test split.

    Exit codes: 0 pass, 10 reject, 11 inconclusive, 1 error, 2 usage, 13 not comparable.
    """
    from harness import deploying
    from harness.cli import gating

    for option, file in (("--junit", junit), ("--markdown", markdown)):
        if file is not None:
            _refuse_unwritable(option, file)
    store, progress = Store(reports), console.ConsoleProgress()
    if again is not None:
        if candidate is not None or against is not None:
            raise UsageError(Problem("--again", "runs a stored gate as it stands", next="Leave the others out"))
        stored = store.find(again)
        wanted = deploying.again(stored, store)
        if wanted.id != stored.id:
            progress.note(f"what {stored.id} names has changed since, so this is another gate: {wanted.id}")
    elif candidate is None or against is None:
        hint = "harness gate CANDIDATE --against production --suites regression-core"
        raise UsageError(Problem("harness gate", "a candidate and --against are needed", next=hint))
    else:
        if engine not in (None, "auto", "vllm", "transformers"):
            raise UsageError(Problem("--engine", f"got {engine!r}", "auto, vllm or transformers"))
        named = tuple(part.strip() for one in suites or () for part in one.split(",") if part.strip())
        asked = deploying.Asked(
            candidate, against, named, policy, model, against_model, engine, name, as_deployed
        )  # fmt: skip
        wanted = deploying.plan(asked, store, progress)
    try:
        verdict = deploying.run(wanted, store, progress)
    except KeyboardInterrupt as fault:
        raise Stopped(Problem("", "stopped", next="The same command goes on from here")) from fault
    folder = store.at(verdict.experiment)
    if junit is not None:
        write_file(junit, (folder.path / "junit.xml").read_text(encoding="utf-8"))
    if markdown is not None:
        write_file(markdown, deploying.markdown(folder))
    if json:
        console.print_json(gating.document(folder, verdict))
    else:
        gating.display(folder)
    raise typer.Exit(verdict.exit_code)


def _refuse_unwritable(option: str, file: Path) -> None:
    """Raise UsageError for a file that could not be written, before a look is spent on it."""
    above = next(one for one in file.absolute().parents if one.exists())
    if file.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
        raise UsageError(Problem(f"{option} {file}", "cannot be written", next="Name a file in a folder that can be"))
