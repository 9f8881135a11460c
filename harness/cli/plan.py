"""`harness plan`: what an experiment will take, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harness.cli import console
from harness.cli.options import Json, Policy, Reports
from harness.store import Store

if TYPE_CHECKING:
    from harness.preflight.planning import Fit, Plan, Stage

UNKNOWN = "not known"


def plan(
    spec: Annotated[Path, typer.Argument(help="An experiment YAML.", show_default=False)],
    policy: Policy = None,
    reports: Reports = None,
    json: Json = False,
) -> None:
    """Forecast time, money and memory by stage, and where training would fit. Touches no model, spends nothing.

    Exit codes: 0; 1 error, 2 bad spec.
    """
    from harness import spec as specs
    from harness.preflight.planning import plan as planned

    found = planned(specs.load(spec, policy), Store(reports))
    if json:
        console.print_json(found.model_dump(mode="json"))
    else:
        display(found)


def display(found: Plan) -> None:
    """Everything that is known of it."""
    console.out.print(Text.assemble((found.experiment, "bold"), f"  on {found.machine}\n"))
    rows = [
        [one.stage, f"{one.amount:,} {one.unit}", hours(one.hours), cost(one.cost, found.currency)]
        for one in found.stages
    ]
    rows.append(["all", "", hours(found.hours), cost(found.cost, found.currency)])
    columns = [("stage", "left"), ("at most", "right"), ("time", "right"), ("cost", "right")]
    console.out.print(console.table("", columns, rows))
    for line in (*sources(found.stages), *(f"{what}: {value}" for what, value in found.prices)):
        console.out.print(Text(console.plain(line), style="dim"))
    for warning in found.warnings:
        console.out.print(Text(console.plain(f"warning: {warning}"), style="yellow"))
    _fits(found)
    console.out.print("\nNo model was touched, and nothing was spent.")


def sources(stages: tuple[Stage, ...]) -> list[str]:
    """What the times rest on, stages with one source together."""
    by_source: dict[str, list[str]] = {}
    for one in stages:
        by_source.setdefault(one.source, []).append(one.stage)
    return [f"time of {' and '.join(names)}: {source}" for source, names in by_source.items()]


def _fits(found: Plan) -> None:
    """Where training would fit, a row a method."""
    from harness.trainers import forecast

    if not found.fits:
        console.out.print(Text(f"\nmemory: {found.unfitted}", style="dim"))
        return
    sizes = list(dict.fromkeys(one.gigabytes for one in found.fits))
    by_method: dict[str, list[Fit]] = {}
    for one in found.fits:
        by_method.setdefault(one.method, []).append(one)
    rows = [
        [method, forecast.gib(own[0].needs), *("fits" if one.fits else "no" for one in own)]
        for method, own in by_method.items()
    ]
    columns = [("method", "left"), ("needs", "right"), *((f"{size} GB", "left") for size in sizes)]
    console.out.print()
    console.out.print(console.table("where training would fit, on a GPU", columns, rows))
    for method, own in by_method.items():
        for one in own:
            if not one.fits:
                console.out.print(Text(console.plain(f"{method} on {one.gigabytes} GB: {one.advice}"), style="dim"))


def hours(ends: tuple[float, float] | None) -> str:
    """`12 min to 1.4 h`, or that it is not known."""
    from harness.money.telling import clock

    if ends is None:
        return UNKNOWN
    low, high = (clock(3600 * end) for end in ends)
    return low if low == high else f"{low} to {high}"


def cost(ends: tuple[float, float] | None, currency: str) -> str:
    """`0.41 to 1.20 USD`, or that it is not known."""
    from harness.money import Span, money

    if ends is None:
        return UNKNOWN
    low, high = (money(Span(end, end, end), cents=True) for end in ends)
    return f"{low if low == high else f'{low} to {high}'} {currency}".rstrip()
