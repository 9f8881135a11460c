"""`harness data`: audit a file, repair it, tell two versions apart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from harness.cli import console
from harness.cli.options import Json
from harness.errors import Problem, UsageError, did_you_mean
from harness.records import Action, Finding

if TYPE_CHECKING:
    from harness.data import AuditSpec, CleanReport, FileAudit, RowChange

app = typer.Typer(help="Audit a data file, repair it, tell two versions apart.", no_args_is_help=True)

FOUND = 10
"""Exit code where findings of severity error are left."""

SHOWN = 40
"""Findings that the terminal shows; all are in --json."""

File = Annotated[str, typer.Argument(help="JSONL, JSON, CSV, TSV, Parquet, or hf:NAME[:SPLIT].", show_default=False)]
Test = Annotated[list[str] | None, typer.Option("--test", help="Rows that must not be learned from; repeatable.")]
Dev = Annotated[list[str] | None, typer.Option("--dev", help="Dev rows, likewise; repeatable.")]
Suites = Annotated[list[str] | None, typer.Option("--suite", help="A suite, likewise: a name or a folder; repeatable.")]
Rules = Annotated[
    list[str] | None,
    typer.Option("--rule", metavar="RULE=ACTION", help="error, drop, fix, warn or ignore; repeatable."),
]
Columns = Annotated[
    list[str] | None, typer.Option("--column", metavar="FIELD=COLUMN", help="e.g. prompt=question; repeatable.")
]
Model = Annotated[str | None, typer.Option(help="Count tokens with this model's tokenizer and chat template.")]
MaxLength = Annotated[int | None, typer.Option(help="With --model: tells every row whose answer would be cut.", min=1)]


@app.command()
def audit(
    file: File,
    test: Test = None,
    dev: Dev = None,
    suite: Suites = None,
    rule: Rules = None,
    column: Columns = None,
    model: Model = None,
    max_length: MaxLength = None,
    json: Json = False,
) -> None:
    """Audit one data file. Exit codes: 0 no error, 10 findings of severity error, 2 unreadable."""
    if max_length is not None and model is None:
        raise UsageError(Problem("--max-length", "needs --model, whose tokens it counts"))
    from harness.data import audit_file

    found = audit_file(
        file,
        spec=_spec(rule),
        held={"test": test or [], "dev": dev or []},
        suites=suite or [],
        columns=_assignments("--column", column) or None,
        model=model,
        max_length=max_length,
    )
    if json:
        console.print_json({"rows": found.rows, "findings": [_row(f) for f in found.findings], **found.about()})
    else:
        _show(found)
    if any(finding.severity == "error" for finding in found.findings):
        raise typer.Exit(FOUND)


@app.command()
def clean(
    source: Annotated[str, typer.Argument(metavar="IN", help="The file to repair; it is not changed.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A new JSONL file.")],
    test: Test = None,
    dev: Dev = None,
    suite: Suites = None,
    rule: Rules = None,
    column: Columns = None,
    json: Json = False,
) -> None:
    """Write a repaired copy, and beside it OUT.changes.jsonl: every row dropped or changed, and why."""
    from harness.data import clean_file

    made = clean_file(
        source,
        target,
        spec=_spec(rule),
        held={"test": test or [], "dev": dev or []},
        suites=suite or [],
        columns=_assignments("--column", column) or None,
    )
    if json:
        console.print_json(made.document())
    else:
        _show_clean(made)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="The older file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The newer file.")],
    json: Json = False,
) -> None:
    """Which rows came, went and changed from A to B; the order of rows does not count."""
    from harness.data import diff_files

    made = diff_files(a, b)
    if json:
        console.print_json(made.document())
        return
    console.out.print(
        f"{made.same} rows the same, {len(made.changed)} changed, {len(made.came)} came, {len(made.went)} went"
    )
    for file, count in zip((a, b), made.unread, strict=True):
        if count:
            console.out.print(f"{count} rows of {file} cannot be read and are not compared", markup=False)
    console.out.print(f"fingerprints {made.fingerprints[0][:12]} and {made.fingerprints[1][:12]}", markup=False)
    rows = [_change("changed", row) for row in made.changed]
    rows += [_change("came", row) for row in made.came] + [_change("went", row) for row in made.went]
    if rows:
        heads = (("what", "left"), ("A line", "right"), ("B line", "right"), ("question", "left"), ("answer", "left"))
        console.out.print(console.table("", heads, rows[:SHOWN]))


def _change(what: str, row: RowChange) -> list[str]:
    return [what, str(row.line_a or ""), str(row.line_b or ""), row.question, row.answer]


def _row(finding: Finding) -> dict[str, Any]:
    """A finding in the form of the command's JSON; what concerns the whole file has no line."""
    return {
        "line": finding.line or None,
        "rule": finding.rule,
        "severity": finding.severity,
        "action": finding.action,
        "message": finding.message,
        "partner_line": finding.partner_line,
        "test_id": finding.test_id,
        "similarity": finding.similarity,
    }


def _show(found: FileAudit) -> None:
    from harness.data import DATA_RULES

    formats = ", ".join(f"{count} {name}" for name, count in found.formats.items()) or "no well-formed row"
    console.out.print(f"{found.file}: {found.rows} rows ({formats})", markup=False)
    for line in found.notes:
        console.out.print(line, markup=False)
    counts = Counter((finding.rule, finding.severity, finding.action) for finding in found.findings)
    columns = (
        ("rule", "left"),
        ("severity", "left"),
        ("default", "left"),
        ("findings", "right"),
        ("looks for", "left"),
    )
    summary = [
        [*key, str(count), DATA_RULES[key[0]].about] for key, count in sorted(counts.items(), key=lambda i: -i[1])
    ]
    if not summary:
        console.out.print("nothing found")
        return
    console.out.print(console.table("", columns, summary))
    worst = sorted(found.findings, key=lambda f: (f.severity != "error", f.severity == "info", f.line))
    heads = (("line", "right"), ("rule", "left"), ("does", "left"), ("what", "left"))
    each, so_far, shown = max(1, SHOWN // len({f.rule for f in worst})), Counter[str](), list[Finding]()
    for finding in worst:  # the first of every rule: a fault of all rows hides no other
        so_far[finding.rule] += 1
        shown += [finding] if so_far[finding.rule] <= each else []
    rows = [[str(f.line or "file"), f.rule, f.action, f.message] for f in shown]
    rest = (
        "" if len(rows) == len(worst) else f", the first of each rule: {len(rows)} of {len(worst):,} (--json has all)"
    )
    console.out.print(console.table(f"findings{rest}", heads, rows))


def _show_clean(made: CleanReport) -> None:
    console.out.print(
        f"wrote {made.target}: {made.kept} of {made.rows} rows, {made.changed} of them changed", markup=False
    )
    console.out.print(
        f"wrote {made.log}: {made.dropped} rows dropped and {made.changed} changed, each with its reason", markup=False
    )
    for rule, count in sorted(made.reasons.items(), key=lambda item: -item[1]):
        console.out.print(f"  {count:6d} {rule}", markup=False)


def _spec(given: list[str] | None) -> AuditSpec:
    from pydantic import ValidationError

    from harness.data import AuditSpec

    rules = _assignments("--rule", given)
    actions = get_args(Action)
    for name, action in rules.items():
        if action not in actions:
            raise UsageError(Problem("--rule", f"{name}={action}: unknown action", did_you_mean(action, actions)))
    try:
        return AuditSpec.model_validate({"rules": rules})
    except ValidationError as fault:
        raise UsageError([Problem("--rule", e["msg"].removeprefix("Value error, ")) for e in fault.errors()]) from fault


def _assignments(option: str, given: list[str] | None) -> dict[str, str]:
    """`A=B` options as a dictionary."""
    made = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise UsageError(Problem(option, f"got {text!r}", "NAME=VALUE"))
        made[name.strip()] = value.strip()
    return made
