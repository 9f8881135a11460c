"""How a preflight looks on a terminal."""

from __future__ import annotations

from rich.text import Text

from harness.cli import console, plan
from harness.cli.tables import LEFT, RIGHT, line
from harness.gates import Forecast
from harness.gates.forecasting import rounded
from harness.preflight import Preflight
from harness.records import Finding
from harness.trainers import forecast

NONE = "–"
LICENCE = "base model's licence"
"""Its key in the data card."""


def display(found: Preflight) -> None:
    """`harness check`: data, findings, work, and what each gate can decide."""
    console.out.print(Text.assemble((found.experiment, "bold"), f"  {found.model}, {found.device}"))
    console.out.print(Text(f"engine {found.engine}", style="dim"))
    _data(found)
    _findings(found)
    work = found.work
    calls = (work.prompt_search_calls or 0) + work.dev_calls + work.task_calls + work.suite_calls
    calls += work.probe_calls
    searched = f"{work.prompt_search_calls:,} prompt search, " if work.prompt_search_calls is not None else ""
    spent = f" and {work.prompt_search_tokens:,} tokens of prompt search" if work.prompt_search_tokens else ""
    beside = ", ".join(("base", *work.contestants, "best_prompt", "tuned"))
    beside += ", tuned+best_prompt (a look of its own)" if work.with_best_prompt else ""
    judged = f", {work.judge_calls:,} calls of the judge" if work.judge_calls else ""
    console.out.print(
        f"\nwork: at most {calls:,} answers ({searched}{work.dev_calls:,} dev, {work.task_calls:,} task, "
        f"{work.suite_calls:,} suites, {work.probe_calls:,} fixed texts){spent}{judged}, "
        f"{work.training_steps:,} training steps\ncontestants: {beside}\n",
        markup=False,
    )
    _forecast(found)
    _memory(found)
    _gates(found)
    console.out.print("\nThe spec is valid. No model was touched.")


def _forecast(found: Preflight) -> None:
    """Hours and money, stage by stage; `harness plan` tells more."""
    known = [one for one in found.plan.stages if one.hours is not None or one.cost is not None]
    for one in known:
        told = f"{one.stage}: {plan.hours(one.hours)}, {plan.cost(one.cost, found.plan.currency)}"
        console.out.print(Text(console.plain(f"{told} ({one.source})"), style="dim"))
    for source in plan.sources(tuple(one for one in found.plan.stages if one not in known)):
        console.out.print(Text(console.plain(source), style="dim"))
    for warning in found.plan.warnings:
        console.out.print(Text(console.plain(f"warning: {warning}"), style="yellow"))
    console.out.print()


def _memory(found: Preflight) -> None:
    """What training takes, and what would fit where that does not."""
    if found.memory is None:
        console.out.print(Text("memory of training: told when the model is here, or not trained here\n", style="dim"))
        return
    console.out.print(f"training {forecast.told(found.memory)}\n", markup=False)
    if found.memory.advice:
        console.out.print(Text(console.plain(f"warning: it may not fit; {found.memory.advice}"), style="yellow"))


def _data(found: Preflight) -> None:
    splits = [[n, s.file, str(s.rows), s.fingerprint[:8]] for n, s in found.data.splits.items()]
    splits += [[name, "suite", str(size), ""] for name, size in found.suites.items() if name != "task"]
    console.out.print()
    columns = [("data", LEFT), ("", LEFT), ("rows", RIGHT), ("fingerprint", LEFT)]
    console.out.print(console.table("", columns, splits))
    if found.data.majority_score is not None:
        answer = line(found.data.majority_answer, 40)
        console.out.print(f"always answering {answer!r} would score {found.data.majority_score:.3f}", markup=False)
    for note in (*found.notes, f"base model's licence: {found.data.card.get(LICENCE, 'unknown')}"):
        console.out.print(line(note, 200), markup=False)


def _findings(found: Preflight) -> None:
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in found.data.findings:
        groups.setdefault((finding.severity, finding.rule, finding.file), []).append(finding)
    for (severity, rule, file), told in groups.items():
        lines = [str(finding.line) for finding in told if finding.line]
        some = ", ".join(lines[:5]) + (", …" if len(lines) > 5 else "")
        what = f"{len(told)} in {file}, lines {some}" if lines else f"{file}: {told[0].message}"
        style = "dim" if severity == "info" else "yellow"
        console.out.print(Text(f"{severity}: {rule}: {line(what, 200)}", style=style))


def _gates(found: Preflight) -> None:
    """The table of forecasts, what they rest on, and what to do about those that cannot decide."""
    power = f"{found.gates[0].power:.0%}"
    headings = ("items", "margin", "detectable", "pass if equal", "pass if hoped", f"items for {power}")
    columns = [("gate", LEFT), *((heading, RIGHT) for heading in headings)]
    rows = [_row(made) for made in found.gates if made.decidable is not None]
    if rows:
        console.out.print(console.table("what the gates can decide, in points", columns, rows))
    sources: dict[str, list[Forecast]] = {}
    for made in found.gates:
        if made.decidable is None:
            console.out.print(Text(console.plain(f"{made.gate}: {made.summary}"), style="dim"))
        elif made.rule == "min_delta":
            sources.setdefault(made.source, []).append(made)
    for source, those in sources.items():
        console.out.print(Text(console.plain(f"differences {source}: {_differences(those)}"), style="dim"))
    if any(made.early for made in found.gates):
        told = "stop_early: decided at any time, by betting; it takes more items when all are needed"
        console.out.print(Text(told, style="dim"))
    for seeds, spread in {(made.seeds, made.seed_sd) for made in found.gates if made.seed_sd is not None}:
        told = f"claim recipe: over {seeds} seeds, assumed to differ by {100 * spread:g} points"
        console.out.print(Text(told, style="dim"))
    looks = found.looks
    spent = f"looks at this test split: {looks.made} of {looks.budget}; a pass may err with {100 * looks.level:.3g}%"
    console.out.print(Text(spent, style="dim"))
    for warning in found.warnings:
        console.out.print(Text(console.plain(f"warning: {warning}"), style="yellow"))


def _row(made: Forecast) -> list[str]:
    name = made.gate + ("" if made.blocking else " (advisory)")
    clustered = f"{made.n:,} in {made.clusters:,}" if made.clusters < made.n else f"{made.n:,}"
    needed = NONE if made.items_needed is None else rounded(made.items_needed)
    if made.rule != "min_delta":
        truth = NONE if made.detectable is None else f"{100 * made.detectable:.1f}"
        return [name, clustered, NONE, truth, NONE, NONE, NONE]
    hoped = NONE if made.hoped_gain is None else f"{_percent(made.pass_if_hoped)} at {_points(made.hoped_gain)}"
    return [
        name, clustered, _points(made.min_delta), _points(made.detectable), _percent(made.pass_if_equal), hoped, needed,
    ]  # fmt: skip


def _differences(those: list[Forecast]) -> str:
    """The shares of items that differ, and by how much; clusters too."""
    told = dict.fromkeys(
        f"{made.suite} {100 * (made.discordance or 0):.2g}% of items"
        + ("" if made.size == 1 else f" by {100 * (made.size or 0):.1f} points")
        + ("" if made.icc is None else f", correlated {made.icc:.2g} inside clusters")
        for made in those
    )
    return "; ".join(told)


def _points(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:+.1f}"


def _percent(chance: float | None) -> str:
    if chance is None:
        return NONE
    return "<1%" if chance < 0.005 else ">99%" if chance > 0.995 else f"{chance:.0%}"
