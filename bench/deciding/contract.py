"""What must be true of decisions, and whether the simulations show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from deciding.early import EarlyCell, early_cells
from deciding.families import KEPT, SCHEDULES, FinalistsCell, LooksCell, SuitesCell, family_cells
from deciding.grid import MARGINS, SIZES, ForecastCell, GridCell, grid_cells
from deciding.recipes import recipe_cells
from deciding.results import Result, Results, Share
from deciding.speed import speed_cells
from deciding.worlds import World

ERROR, ERROR_HIGH = 0.05, 0.06
"""Most wrong promotions or FAILs, and the most at the upper end of their interval."""
COVERS, COVERS_SMALL, COVERS_MOST = 0.935, 0.93, 0.975
"""Least coverage from 50 items on and below; most of it from 50 on."""
OFF: Final = 0.05
"""Largest distance of a forecast from what comes true."""
USED: Final = 0.6
"""Largest median share of the items of a fixed n."""
CLEAR: Final = 2.0
"""A clear effect: so many times as far from the margin as the one that the suite was sized for."""
SECONDS, BYTES = 3.0, 1e9
SURE: Final = 0.99
"""Power of the fixed n that misses a clear effect as seldom as the evaluation that stops early does."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the contract."""

    what: str
    must: str
    got: str
    holds: bool
    trials: str

    @property
    def line(self) -> str:
        """For a terminal."""
        return f"{'holds' if self.holds else 'MISSES'}  {self.what}: {self.got} (must be: {self.must}; {self.trials})"


def findings(results: Results) -> list[Finding]:
    """Every line of the contract of which anything was simulated."""
    parts = (_promotions, _coverages, _families, _forecast, _early, _recipe, _speed)
    return [finding for part in parts for finding in part(results)]


def spread(results: Iterable[Result]) -> str:
    """How many trials the cells had."""
    counts = sorted({result.trials for result in results}) or [0]
    return f"{counts[0]:,} trials" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} trials"


# ---------------------------------------------------------------- one gate, first look


def grid_results(results: Results, sizes: Iterable[int]) -> list[tuple[World, Result]]:
    """Simulated worlds with these numbers of items."""
    cells = [cell for cell in grid_cells() if isinstance(cell, GridCell) and cell.world.n in sizes]
    return [(cell.world, results[cell.name]) for cell in cells if cell.name in results]


def forecasts(results: Results) -> list[tuple[World, float, float, Share]]:
    """World, margin, forecast chance to pass, and the share of trials that were promoted."""
    cells = [cell for cell in grid_cells() if isinstance(cell, ForecastCell)]
    told = {cell.world: results[cell.name] for cell in cells if cell.name in results}
    return [
        (world, margin, told[world].values[f"pass {margin:+g}"], result.share(f"promoted {margin:+g}"))
        for world, result in grid_results(results, SIZES)
        if world in told
        for margin in MARGINS
    ]


def _promotions(results: Results) -> Iterator[Finding]:
    found = [(result.share(f"promoted {world.truth:+g}"), result) for world, result in grid_results(results, SIZES)]
    yield from _errors("False promotion, truth at the margin", found)


def _coverages(results: Results) -> Iterator[Finding]:
    large = grid_results(results, SIZES)
    small = grid_results(results, range(51))
    if large:
        shares = [result.share("covered").value for _, result in large]
        low = sum(value < COVERS for value in shares)
        trials = f"{spread(result for _, result in large)} in each of {len(large)} cells"
        what, must = "Coverage of the 95 % interval from 50 items on: not too low", f"at least {COVERS:.1%}"
        yield Finding(what, must, f"least {min(shares):.1%}, {low} of {len(large)} cells below", not low, trials)
        above = [(world, result) for world, result in large if result.share("covered").value > COVERS_MOST]
        equal = [1 - result.values["attainable_error"] for world, result in above if world.truth == 0]
        got = (
            f"most {max(shares):.1%}, {len(above)} of {len(large)} cells above; of {len(equal)} among them with equal "
        )
        got += f"candidates, {sum(bound > COVERS_MOST for bound in equal)} are bound to be (see below)"
        yield Finding("The same: not needlessly wide", f"at most {COVERS_MOST:.1%}", got, not above, trials)
    if small:
        least = min(result.share("covered").value for _, result in small)
        trials = f"{spread(result for _, result in small)} in each of {len(small)} cells"
        what, must = "Coverage with 10 to 50 items", f"at least {COVERS_SMALL:.0%}"
        yield Finding(what, must, f"least {least:.1%}", least >= COVERS_SMALL, trials)


def _forecast(results: Results) -> Iterator[Finding]:
    found = forecasts(results)
    if found:
        world, margin, told, share = max(found, key=lambda one: abs(one[2] - one[3].value))
        off = abs(told - share.value)
        beyond = sum(abs(told - share.value) > OFF for _, _, told, share in found)
        got = f"largest difference {100 * off:.1f} points, {beyond} of {len(found)} beyond 5"
        got += f": {world.name.replace(' | ', ', ')}, margin {margin:+g}, forecast {told:.1%}, true {share.value:.1%}"
        trials = f"{spread(result for _, result in grid_results(results, SIZES))} for each"
        yield Finding("Forecast chance to PASS", "within 5 points", got, off <= OFF, trials)


# ------------------------------------------------------------------ families and looks


def family_shares(results: Results) -> Iterator[tuple[SuitesCell | FinalistsCell | LooksCell, str, Result, Share]]:
    """Every simulated case of many suites, finalists or looks: cell, variant, result, share that went wrong."""
    for cell in family_cells():
        result = results.get(cell.name)
        if result is None:
            continue
        if isinstance(cell, SuitesCell):
            yield from ((cell, f"{margin:+g}", result, result.share(f"failed {margin:+g}")) for margin in KEPT)
        elif isinstance(cell, LooksCell):
            yield from ((cell, name, result, result.share(f"promoted {name}")) for name in SCHEDULES)
        else:
            yield cell, "", result, result.share("promoted")


def _families(results: Results) -> Iterator[Finding]:
    titles = {
        "suites": "Any false FAIL over 8 regression suites, unchanged model",
        "finalists": "Best of 5 finalists, none better: promoted",
        "looks": "20 successive looks at one test split, none better: ever promoted",
    }
    for scenario, title in titles.items():
        shares = [(share, result) for cell, _, result, share in family_shares(results) if cell.scenario == scenario]
        yield from _errors(title, shares)


def _recipe(results: Results) -> Iterator[Finding]:
    found = [results[cell.name] for cell in recipe_cells() if cell.name in results]
    yield from _errors("Claim about a recipe, truly equal: promoted", [(one.share("promoted"), one) for one in found])


def _errors(what: str, found: list[tuple[Share, Result]]) -> Iterator[Finding]:
    if found:
        value, high = max(share.value for share, _ in found), max(share.high for share, _ in found)
        cells = f"{spread(result for _, result in found)} in each of {len(found)} cells"
        must = "at most 5 %, upper end of its interval at most 6 %"
        got = f"most {value:.1%}, highest upper end {high:.1%}"
        yield Finding(what, must, got, value <= ERROR and high <= ERROR_HIGH, cells)


# ------------------------------------------------------------------ early stopping, speed


def stopped(results: Results, *, at_margin: bool) -> list[tuple[EarlyCell, Result]]:
    """Evaluations that may stop early: of candidates at the margin, or of better ones."""
    cells = [cell for cell in early_cells() if (cell.hoped is None) is at_margin]
    return [(cell, results[cell.name]) for cell in cells if cell.name in results]


def is_clear(cell: EarlyCell) -> bool:
    """Whether the effect is a clear one."""
    return cell.hoped is not None and cell.world.truth - cell.margin >= CLEAR * (cell.hoped - cell.margin) - 1e-9


def _early(results: Results) -> Iterator[Finding]:
    null = [(result.share("promote"), result) for _, result in stopped(results, at_margin=True)]
    yield from _errors("Early stopping, truth at the margin: promoted", null)
    clear = [(cell, result) for cell, result in stopped(results, at_margin=False) if is_clear(cell)]
    bases = {
        "the n fixed beforehand (80 % power for the hoped-for effect)": "fixed hoped 0.8",
        "the n that misses this very effect as seldom (99 % power)": f"fixed true {SURE:g}",
        "the n with 80 % power, had this very effect been known": "fixed true 0.8",
    }
    for base, key in bases.items() if clear else ():
        used = {cell.world.truth - cell.margin: r.values["median"] / r.values[key] for cell, r in clear}
        got = ", ".join(f"{share:.0%} at {100 * distance:g} points from the margin" for distance, share in used.items())
        what = f"Early stopping, clear effect: median items used, of {base}"
        yield Finding(what, "at most 60 %", got, max(used.values()) <= USED, f"{spread(r for _, r in clear)} for each")


def _speed(results: Results) -> Iterator[Finding]:
    for cell in speed_cells():
        if cell.name in results:
            values = results[cell.name].values
            got = f"{values['seconds']:.1f} s, {values['peak_bytes'] / 1e9:.2f} GB"
            holds = values["seconds"] < SECONDS and values["peak_bytes"] < BYTES
            what = f"Comparing two runs: {cell.name.partition(' | ')[2]}"
            yield Finding(what, "under 3 s on one core, under 1 GB", got, holds, "1 trial")
