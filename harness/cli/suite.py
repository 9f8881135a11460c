"""`harness suite`: whether a suite can tell right from wrong, and which suites there are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.text import Text

from harness.cli import console
from harness.cli.options import Json
from harness.errors import SuiteError
from harness.records import SplitName

if TYPE_CHECKING:
    from harness.suites import Suite
    from harness.suites.checking import TaskCheck

app = typer.Typer(help="Check a suite before it judges; list the suites.", no_args_is_help=True)

UNSOUND = 2
"""Exit code of a suite that cannot tell right from wrong."""
STYLES = {"error": "red", "warning": "yellow", "info": "dim"}

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with the data files of a published suite; default $HARNESS_DATA."),
]


@app.command("check")
def check_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A suite's name, folder or task YAML.")],
    data: Data = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Run gold code, in the sandbox.")] = False,
    json: Json = False,
) -> None:
    """Score gold, constant and shuffled answers; look for questions in two splits. Asks no model.

    Exit codes: 0 sound, 2 a suite that cannot be read, or cannot tell right from wrong.
    """
    from harness.suites import load_suite
    from harness.suites.checking import check

    suite = load_suite(name, data=data)
    splits: list[SplitName] = [split for split in get_args(SplitName) if split != suite.split]
    others = [load_suite(name, data=data, split=split, optional=True) for split in splits]
    others = [other for other in others if other.tasks]
    found = check(suite, others, allow_code)
    if json:
        console.print_json(_document(suite, others, found))
    else:
        _show(suite, others, found)
    if not all(task.ok for task in found):
        raise typer.Exit(UNSOUND)


def _document(suite: Suite, others: list[Suite], found: tuple[TaskCheck, ...]) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "role": suite.role,
        "items": suite.size,
        "splits": {suite.split: suite.size, **{other.split: other.size for other in others}},
        "ok": all(task.ok for task in found),
        "tasks": [asdict(task) | {"ok": task.ok} for task in found],
    }


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"


def _show(suite: Suite, others: list[Suite], found: tuple[TaskCheck, ...]) -> None:
    rows: list[list[str | Text]] = [
        [
            task.task,
            f"{task.items:,}",
            task.metric,
            _number(task.gold),
            f"{_number(task.chance)} {task.chance_from}",
            _number(task.constant),
            _number(task.shuffled),
            _number(task.limit),
            f"{task.text_median:,} / {task.text_longest:,}",
            console.mark("pass" if task.ok else "fail"),
        ]
        for task in found
    ]
    title = f"{suite.name}: {suite.size:,} items, role {suite.role}"
    if others:
        title += ", and " + ", ".join(f"{other.size:,} in {other.split}" for other in others)
    left, right = "left", "right"
    columns = [
        *(("task", left), ("items", right), ("metric", left), ("gold", right), ("chance", left)),
        *(("constant", right), ("shuffled", right), ("at most", right), ("characters", right), ("", left)),
    ]
    console.out.print(console.table(title, columns, rows))
    for told in (told for task in found for told in task.told):
        line = (f"  {told.severity}: ", STYLES[told.severity]), console.plain(f"{told.task}: {told.what}")
        console.out.print(Text.assemble(*line))


@app.command("ls")
def list_(data: Data = None, json: Json = False) -> None:
    """The suites that can be named in an experiment: bundled ones, yours under ./suites, and published ones."""
    from harness.suites import known_suites, published_suites

    rows = [_about(name, data, published=False) for name in known_suites()]
    rows += [_about(name, data, published=True) for name in published_suites()]
    if json:
        console.print_json(rows)
        return
    cells = [
        [
            row["name"],
            "published" if row["published"] else "bundled",
            row["role"] or "—",
            "—" if row["items"] is None else f"{row['items']:,}",
            ", ".join(row["tasks"]) if row["fault"] is None else row["fault"],
        ]
        for row in rows
    ]
    columns = [("suite", "left"), ("data", "left"), ("role", "left"), ("items", "right"), ("tasks", "left")]
    console.out.print(console.table("", columns, cells))


def _about(name: str, data: Path | None, published: bool) -> dict[str, Any]:
    from harness.suites import load_suite

    about: dict[str, Any] = {"name": name, "published": published, "role": None, "items": None, "tasks": []}
    try:
        suite = load_suite(name, data=data)
    except SuiteError as fault:
        return about | {"fault": fault.problems[0].what}
    return about | {"role": suite.role, "items": suite.size, "tasks": [t.name for t in suite.tasks], "fault": None}
