"""The document: results as tables between plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from deciding.contract import (
    COVERS,
    COVERS_MOST,
    COVERS_SMALL,
    OFF,
    USED,
    family_shares,
    findings,
    forecasts,
    grid_results,
    is_clear,
    spread,
    stopped,
)
from deciding.families import FinalistsCell, LooksCell, SuitesCell
from deciding.grid import SIZES, SMALL, exact_coverage
from deciding.recipes import recipe_cells
from deciding.results import Result, Results, Share
from deciding.worlds import World

WORST: Final = 12
"""Forecasts shown, the farthest off first."""


def document(results: Results) -> str:
    """docs/decision.md, whole."""
    parts = (_head, _contract, _promotions, _coverage, _families, _forecast, _early, _recipe, _speed)
    return "\n\n".join(part(results).strip() for part in parts) + "\n"


def _head(results: Results) -> str:
    return """
# How often decisions are wrong

Every number on this page is simulated through the code that judges real experiments: runs and samples go in as
records, a decision comes out. The true difference between candidate and reference is known in each simulation, so a
wrong decision can be counted. `python bench/decision.py --jobs 2 --write docs/decision.md` makes the page anew (two
cores, Python 3.11); each cell has a fixed seed, and the counts behind it are in `bench/decision.json`.
[How a verdict is reached](statistics.md) explains the methods.

How to read it: a share is followed by its own 95 % interval (Clopper and Pearson 1934, by scipy), because a
simulation is a sample too. *At the margin* means that the candidate's true difference is exactly the margin of the
gate, the hardest case in which it must not pass; with a margin of 0 it is truly equal. *Differ* is the share of items
on which the two sides differ."""


def _contract(results: Results) -> str:
    rows = [[f.what, f.must, f.got, "yes" if f.holds else "**no**", f.trials] for f in findings(results)]
    return "## In short\n\n" + _table(["what", "must be", "found", "holds", "simulated"], rows)


def _promotions(results: Results) -> str:
    found = grid_results(results, SIZES)
    text = f"""
## One gate: how often a candidate at the margin is promoted

Default policy, first look, {spread(r for _, r in found)} a cell. A first look may err with 2.5 %; the contract allows
5 %. Where a cell lies far below 2.5 %, few items differ, and the gate asks for more evidence before it believes that
nothing else does. `–`: so few items that differ cannot make so large a difference.

Real-valued scores: the reference has one of a hundred grades on [0, 1]; an item that differs gains a uniform share of
what is missing or loses one of what is there. Clusters: five items each, chances drawn from a Dirichlet distribution
that gives the stated correlation inside a cluster (ICC).
"""
    return text + "\n" + _grid(found, SIZES, lambda world, result: _share(result.share(f"promoted {world.truth:+g}")))


def _coverage(results: Results) -> str:
    found = grid_results(results, (*SMALL, *SIZES))
    text = f"""
## The 95 % interval: how often it holds the truth

The same trials, and further ones with few items; {spread(r for _, r in found)} a cell. ▼: too low (below
{COVERS:.1%}, with up to 50 items below {COVERS_SMALL:.0%}). ▲: above {COVERS_MOST:.1%} from 50 items on, that is wider
than it would have to be.
"""
    grid = _grid(found, (*SMALL, *SIZES), lambda world, result: _share(result.share("covered")) + _mark(world, result))
    return "\n\n".join(filter(None, (text.strip(), grid, _too_low(found), _attainable(found))))


def _too_low(found: Sequence[tuple[World, Result]]) -> str:
    """Cells below, with the exact figure where it can be summed."""
    told = []
    for world, result in found:
        if _mark(world, result) == " ▼":
            exact = world.kind == "0/1" and world.cluster == 1
            figure = f", {exact_coverage(world):.1%} exactly (summed over all tables)" if exact else ""
            told.append(f"{world.name.replace(' | ', ', ')}: {result.share('covered').value:.1%} simulated{figure}")
    return f"Too low: {'; '.join(told)}." if told else ""


def _mark(world: World, result: Result) -> str:
    covered = result.share("covered").value
    if covered < (COVERS if world.n > SIZES[0] else COVERS_SMALL) or (world.n == SIZES[0] and covered < COVERS):
        return " ▼"
    return " ▲" if covered > COVERS_MOST and world.n >= SIZES[0] else ""


def _attainable(found: Sequence[tuple[World, Result]]) -> str:
    equal = [(world, result) for world, result in found if world.truth == 0]
    text = """
Why so many cells are above: data with few differences are coarse. The table shows, for candidates that are truly equal,
the least coverage of any test that keeps its level whatever the number of items (or clusters) that differ: given k of
them, each is as likely a gain as a loss, so no chance is finer than 2 to the power of -k, and below six nothing can be
rejected at all. For 0/1 scores without clusters that test is McNemar's exact one; Tango's interval lies below it,
because it keeps its level on average over the numbers of items that may differ, not for each of them. Where the bound
is below 97.5 % and a cell above it, the difference is the price of the variance floor.
"""
    return text.strip() + "\n\n" + _grid(
        equal, (*SMALL, *SIZES), lambda world, result: f"{1 - result.values['attainable_error']:.1%}"
    )  # fmt: skip


def _families(results: Results) -> str:
    rows: dict[str, list[list[str]]] = {"suites": [], "finalists": [], "looks": []}
    trials = []
    for cell, variant, result, share in family_shares(results):
        trials.append(result)
        if isinstance(cell, SuitesCell):
            rows["suites"].append([cell.kind, str(cell.worlds[0].n), variant, _share(share)])
        elif isinstance(cell, FinalistsCell):
            rows["finalists"].append([*_of(cell.world), _share(share)])
        elif isinstance(cell, LooksCell):
            rows["looks"].append([*_of(cell.world), variant, _share(share), f"{result.values[f'spent {variant}']:.1%}"])
    world = ["scores", "n", "differ", "margin"]
    parts = [
        "## Many chances to be wrong",
        f"{spread(trials)} a row." if trials else "",
        "Eight regression suites and a model that is truly unchanged in ability: the chance that any gate FAILs. The "
        "mixed family has three suites of 0/1 scores (2, 10 and 30 % differ), two real-valued and three clustered.",
        _table(["eight suites", "n each", "margin", "any false FAIL"], rows["suites"]),
        "Five finalists, none better than the margin, whose errors have a correlation of 0.5; each is a look at the "
        "test split:",
        _table([*world, "promoted"], rows["finalists"]),
        "Twenty candidates one after another on one test split, none better than the margin (correlation 0.5), until "
        "one is promoted; looks are taken from a real ledger. *Spent*: what all looks together may err with.",
        _table([*world, "spending", "ever promoted", "spent"], rows["looks"]),
    ]
    return "\n\n".join(filter(None, parts))


def _forecast(results: Results) -> str:
    found = sorted(forecasts(results), key=lambda one: -abs(one[2] - one[3].value))
    rows = [
        [*_of(world), f"{margin:+g}", f"{told:.1%}", _share(share), f"{100 * (told - share.value):+.1f}"]
        for world, margin, told, share in found[:WORST]
    ]
    within = sum(abs(told - share.value) <= OFF for _, _, told, share in found)
    text = f"""
## The forecast: does what `harness check` promises come true

For every world above from {SIZES[0]} items on and each of the three margins, the chance to PASS as preflight tells it
(given the true share of items that differ, their size and correlation) against the share of trials that passed. The
candidate is equal, at the margin, or better; where 2 % differ it cannot be five points better. {within} of {len(found)}
forecasts are within 5 points; the farthest off are these. The simulated trials have an uncertainty of their own.
"""
    header = ["scores", "n", "differ", "truth", "margin", "forecast", "came true", "points"]
    return text.strip() + "\n\n" + _table(header, rows)


def _early(results: Results) -> str:
    null = [[*_of(cell.world), _share(r.share("promote"))] for cell, r in stopped(results, at_margin=True)]
    rows = []
    for cell, result in stopped(results, at_margin=False):
        v, distance, hoped = result.values, cell.world.truth - cell.margin, (cell.hoped or 0.0) - cell.margin
        rows.append([
            f"{cell.world.discordance:.0%}", f"{cell.margin:+g}", f"{100 * hoped:g}",
            f"{100 * distance:g}" + (" (clear)" if is_clear(cell) else ""), str(cell.world.n),
            _share(result.share("promote")), f"{v['q1']:.0f} / **{v['median']:.0f}** / {v['q3']:.0f}",
            *(_relative(v, "hoped", power) for power in (0.8, 0.9)),
            *(_relative(v, "true", power) for power in (0.8, 0.9, 0.99)),
        ])  # fmt: skip
    header = ["differ", "margin", "hoped", "true", "suite", "promoted", "items used (quartiles)"]
    header += [f"fixed n, {name} %" for name in ("hoped 80", "hoped 90", "true 80", "true 90", "true 99")]
    return f"""
## Stopping early: items used, and false promotions

With `stop_early` the evaluation looks after each batch whether its gate is decided, in the order and with the batches
of a real one. Candidates at the margin, {spread(r for _, r in stopped(results, at_margin=True))} a row:

{_table(["scores", "n", "differ", "margin", "promoted"], null)}

Better candidates ({spread(r for _, r in stopped(results, at_margin=False))} a row). *Hoped* and *true*: distance from
the margin, in points. The suite has the items that give a fixed-n gate 90 % power for the hoped-for distance.
The last columns: the n of a gate without early stopping, at the same level, for the hoped-for or the true distance at
a power, and the median items used as a share of it ({USED:.0%} is allowed under a clear effect).

{_table(header, rows)}

What it buys: you do not have to know the effect beforehand. When the candidate is as good as was hoped, stopping early
saves little; when it is clearly better, most of the suite need not be asked. Against a fixed n chosen with the true
effect already known at 80 or 90 % power little or nothing is saved: such an n misses one good candidate in five or
ten, the evaluation that stops early hardly any. At a power that is alike, 99 %, it again takes fewer items. A candidate
that is only as good as was hoped is promoted less often than by the fixed n of the same suite: that is the price."""


def _relative(values: Mapping[str, float], of: str, power: float) -> str:
    fixed = values[f"fixed {of} {power:g}"]
    return f"{fixed:.0f} ({values['median'] / fixed:.0%})"


def _recipe(results: Results) -> str:
    found = [(cell, results[cell.name]) for cell in recipe_cells() if cell.name in results]
    rows = [
        [str(cell.seeds), f"{cell.spread:g}", str(cell.world.n), f"{cell.world.discordance:.0%}",
         _share(result.share("promoted"))]
        for cell, result in found
    ]  # fmt: skip
    return f"""
## Claims about a recipe

Several trainings of a recipe that is on average as good as the reference, margin 0, 0/1 scores,
{spread(r for _, r in found)} a row. *Spread*: standard deviation between trainings, in standard errors that the items
alone would cause.

{_table(["seeds", "spread", "n", "differ", "promoted"], rows)}"""


def _speed(results: Results) -> str:
    rows = [
        [name.partition(" | ")[2], f"{r.values['seconds']:.1f} s", f"{r.values['peak_bytes'] / 1e9:.2f} GB",
         f"{r.values['records_bytes'] / 1e9:.2f} GB"]
        for name, r in sorted(results.items()) if name.startswith("speed |")
    ]  # fmt: skip
    return f"""
## Time and memory

Two runs that lie in memory as records to one comparison, in a process of its own, on one core. From more than 1,000
clusters on the bootstrap is left out.

{_table(["runs", "time", "peak memory", "of it records"], rows)}"""


# ----------------------------------------------------------------------------- tables


def _grid(found: Sequence[tuple[World, Result]], sizes: Sequence[int], show: Callable[[World, Result], str]) -> str:
    """Rows of worlds that are alike but for their number of items, which makes the columns."""
    rows: dict[tuple[str, float, float], dict[int, str]] = {}
    for world, result in found:
        rows.setdefault((world.scores, world.discordance, world.truth), {})[world.n] = show(world, result)
    body = [
        [scores, f"{discordance:.0%}", f"{truth:+g}", *(rows[scores, discordance, truth].get(n, "–") for n in sizes)]
        for scores, discordance, truth in sorted(rows)
    ]
    return _table(["scores", "differ", "truth", *(f"n = {n}" for n in sizes)], body)


def _of(world: World) -> list[str]:
    return [world.scores, str(world.n), f"{world.discordance:.0%}", f"{world.truth:+g}"]


def _share(share: Share) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.1f}–{100 * share.high:.1f})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
