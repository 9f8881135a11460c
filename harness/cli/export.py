"""`harness export`: artefacts for deployment, and results for other trackers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from harness.cli import console
from harness.cli.options import Json, Reports
from harness.errors import Problem, UsageError
from harness.records import EXIT_CODES, ExportRecord
from harness.store import Store

if TYPE_CHECKING:
    from harness.exporting import Exported

LEFT, RIGHT = "left", "right"
EXIT = {"pass": 0, "fail": EXIT_CODES["reject"], "inconclusive": EXIT_CODES["inconclusive"]}
SHOWN = 5
"""Changed answers that a terminal shows; all that are kept stand in export.json."""

What = Annotated[str, typer.Argument(metavar="ID|ALIAS", help="An experiment's id, `latest`, or an alias.")]
Format = Annotated[
    str | None, typer.Option("--format", help="merged, gguf, ollama, vllm or docker.", show_default=False)
]
To = Annotated[str | None, typer.Option("--to", help="mlflow, wandb, trackio or hub.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="A new folder; default exports/ID--FORMAT.")]
Quantization = Annotated[str, typer.Option("--quantization", help="Of a GGUF file: f16 or q8_0.")]
Samples = Annotated[
    int, typer.Option("--samples", metavar="N", min=0, help="Test items to judge the export by again; 0 for none.")
]
Margin = Annotated[float, typer.Option("--margin", min=0, max=1, help="Score that an export may lose.")]
Agreement = Annotated[float, typer.Option("--agreement", min=0, max=1, help="Least share of equal greedy answers.")]
Alias = Annotated[str | None, typer.Option("--alias", help="With --to mlflow: also the alias of its registered model.")]
Repo = Annotated[str | None, typer.Option("--repo", metavar="OWNER/NAME", help="With --to hub: the repository.")]
Public = Annotated[bool, typer.Option("--public", help="With --to hub: a new repository is public.")]
Weights = Annotated[bool, typer.Option("--weights", help="With --to mlflow, wandb, trackio: the weights too.")]


def export(
    what: What,
    format: Format = None,
    to: To = None,
    out: Out = None,
    quantization: Quantization = "f16",
    samples: Samples = 100,
    margin: Margin = 0.05,
    agreement: Agreement = 0.5,
    alias: Alias = None,
    repo: Repo = None,
    public: Public = False,
    weights: Weights = False,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Write a candidate in a form for deployment and judge it again, or tell its results to another tracker.

    Exit codes: 0 fit, 10 unfit (it is marked so), 11 not shown to be fit; 1 error, 2 wrong usage.
    """
    from harness import exporting

    if (format is None) == (to is None):
        known = "--format merged|gguf|ollama|vllm|docker, or --to mlflow|wandb|trackio|hub"
        raise UsageError(Problem("harness export", "what to make of it is not said", f"Give one of {known}"))
    if to is not None:
        _tell(Store(reports), what, to, {"alias": alias, "repo": repo, "public": public, "weights": weights}, json)
        return
    terms = exporting.Terms(samples=samples, min_delta=-margin, min_agreement=agreement)
    wanted = exporting.Wanted(what, format or "", out, quantization, terms)
    made = exporting.export(Store(reports), wanted, console.ConsoleProgress())
    judged = made.record.rejudged
    code = 0 if judged is None else EXIT[judged.outcome]
    if json:
        console.print_json({**made.record.model_dump(mode="json"), "folder": str(made.path), "exit_code": code})
    else:
        display(made)
    raise typer.Exit(code)


def _tell(store: Store, what: str, to: str, options: dict[str, Any], json: bool) -> None:
    from harness import evidence, tracking

    folder, candidate, _ = evidence.deployed(store, what)
    told = tracking.tell(folder, candidate, to, **options, note=console.ConsoleProgress().note)
    if json:
        console.print_json(told.document)
        return
    for line in told.lines:
        console.out.print(line, markup=False)


def display(made: Exported) -> None:
    """An export on a terminal."""
    record = made.record
    console.out.print(Text(console.plain(f"{record.format} of {record.experiment}"), style="bold"))
    console.out.print()
    console.out.print(console.table("", [("", LEFT), ("", LEFT)], _facts(record)))
    if record.rejudged is not None and record.rejudged.changed:
        console.out.print()
        columns = [("answered otherwise", LEFT), ("gold", LEFT), ("judged", LEFT), ("exported", LEFT), ("score", RIGHT)]
        rows = [
            [one.id, _short(one.target), _short(one.judged), _short(one.exported),
             f"{_score(one.judged_score)} > {_score(one.exported_score)}"]
            for one in record.rejudged.changed[:SHOWN]
        ]  # fmt: skip
        console.out.print(console.table("", columns, rows))
    console.out.print()
    console.out.print(_outcome(record))
    if record.decision != "promote":
        told = "it has no verdict" if record.decision is None else f"it was judged {record.decision}"
        console.out.print(Text(f"warning: {told}, not promote", style="bold yellow"))
    for note in record.notes:
        console.out.print(Text(console.plain(f"note: {note}"), style="dim"))
    console.out.print(f"\nwrote {made.path}", markup=False)


def _facts(record: ExportRecord) -> list[list[str]]:
    rows = [
        ["candidate", f"{record.candidate.name}, {record.candidate.digest[:12]}"],
        ["written by", record.tool + (f", {record.quantization}" if record.quantization else "")],
        ["files", f"{len(record.files)}, {record.size / 1e6:,.1f} MB, sha256 {record.digest[:12]}"],
    ]
    if record.merge_drift is not None:
        rows.append(["moved by merging", f"{record.merge_drift:.2g} nats at most, of a token's log-probability"])
    if record.probe_drift is not None:
        rows.append(["off the training process", f"{record.probe_drift:.2g} nats per token at most, on fixed texts"])
    judged = record.rejudged
    if judged is not None:
        asked = judged.conditions
        by = f"{asked.engine} {asked.engine_version}, {asked.dtype} on {asked.device}"
        rows.append(["judged again by", f"{by}, on {judged.n} test items"])
        rows.append([judged.metric, f"{_span(judged.exported)}, was {_span(judged.judged)}"])
    return rows


def _outcome(record: ExportRecord) -> Text:
    if record.rejudged is None:
        return Text("not judged again (--samples 0): nobody knows whether it answers as it was judged", "bold yellow")
    words = {"pass": ("FIT", "bold green"), "fail": ("UNFIT", "bold red"), "inconclusive": ("UNDECIDED", "bold yellow")}
    label, style = words[record.rejudged.outcome]
    more = ". More samples decide: --samples" if record.rejudged.outcome == "inconclusive" else ""
    return Text.assemble((label, style), console.plain(f"  {record.rejudged.reason}{more}"))


def _span(interval: Any) -> str:
    from harness import evidence

    return evidence.span(interval)


def _short(text: str | None) -> str:
    if text is None:
        return "no answer"
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
