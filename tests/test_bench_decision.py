"""The simulations behind docs/decision.md: worlds are what they say, every scenario runs, the page is its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deciding.contract import findings
from deciding.early import SEED, EarlyCell
from deciding.families import LOOKS, SCHEDULES, FinalistsCell, LooksCell, SuitesCell, levels
from deciding.grid import LEVEL, POLICY, ForecastCell, GridCell, attainable_error, exact_coverage, grid_cells
from deciding.recipes import RecipeCell
from deciding.results import Result, load, save, simulate
from deciding.runs import scored
from deciding.speed import SpeedCell
from deciding.worlds import World
from deciding.writing import document
from scipy import stats

from harness.gates import GateSpec, PolicySpec, forecast
from harness.gates.watching import GateWatch
from harness.stats import mcnemar_exact_p

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng
WORLDS = [
    World("0/1", 200_000, 0.1, -0.02),
    World("0/1", 200_000, 0.3, 0.05, cluster=5, icc=0.2),
    World("0/1", 200_000, 0.02, 0.0, cluster=5, icc=0.5),
    World("real", 200_000, 0.3, 0.05),
]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_a_world_is_what_it_says(world: World) -> None:
    (ours,), theirs = world.draw(RNG(1))
    x = ours - theirs
    assert x.mean() == pytest.approx(world.truth, abs=4 * world.design.size * np.sqrt(world.discordance / 40_000))
    assert (x != 0).mean() == pytest.approx(world.discordance, abs=0.01)
    assert np.sqrt((x[x != 0] ** 2).mean()) == pytest.approx(world.design.size, rel=0.02)
    if world.cluster > 1:
        pairs = (x - x.mean()).reshape(-1, world.cluster)
        assert (pairs[:, 0] * pairs[:, 1]).mean() / x.var() == pytest.approx(world.icc, abs=0.06)


def test_candidates_that_share_a_reference_err_alike() -> None:
    ours, theirs = World("0/1", 100_000, 0.1).draw(RNG(2), candidates=2, shared=0.5)
    assert np.corrcoef(ours - theirs)[0, 1] == pytest.approx(0.5, abs=0.05)


def test_so_few_items_cannot_make_so_large_a_difference() -> None:
    assert not World("0/1", 100, 0.02, 0.05).possible
    assert not World("real", 100, 0.1, 0.05).possible
    assert World("0/1", 100, 0.1, 0.05).possible


def test_the_order_of_clusters_does_not_change_a_trial() -> None:
    world = World("0/1", 20, 0.3, cluster=5, icc=0.2)
    x = np.array([1, 0, 0, 0, 0] + [0, -1, 0, 0, -1] + [0] * 10, dtype=np.float64)
    assert world.signature(x) == world.signature(x.reshape(4, 5)[::-1].ravel())
    assert world.signature(x) != world.signature(-x)


@pytest.mark.parametrize("k", [0, 5, 6, 17, 40])
def test_the_attainable_error_is_that_of_mcnemars_exact_test(k: int) -> None:
    rejected = [gained for gained in range(k + 1) if mcnemar_exact_p(gained, k - gained) <= 0.05]
    x = np.array([1.0] * k + [0.0] * 60)
    assert attainable_error(World("0/1", k + 60, 0.1), x) == pytest.approx(stats.binom.pmf(rejected, k, 0.5).sum())


def test_a_grid_cell_counts_every_trial_once_and_promotes_more_at_lower_margins() -> None:
    result = simulate(GridCell(World("0/1", 400, 0.1, 0.05)), 30)
    assert sum(result.counts[name] for name in ("covered", "above", "below") if name in result.counts) == 30
    assert result.counts["promoted -0.02"] == 30
    assert 0 < result.counts["promoted +0"] <= 30
    assert result.share("promoted +0.05").value < 0.2


@pytest.mark.parametrize("world", [World("real", 50, 0.3), World("0/1", 50, 0.3, 0.05, cluster=5, icc=0.5)])
def test_a_grid_cell_of_other_scores_runs(world: World) -> None:
    assert simulate(GridCell(world), 5).share("covered").value >= 0.6


@pytest.mark.parametrize("world", [World("0/1", 30, 0.3), World("0/1", 50, 0.1, 0.05), World("0/1", 20, 0.02, -0.02)])
def test_simulated_coverage_agrees_with_the_sum_over_all_tables(world: World) -> None:
    share = simulate(GridCell(world), 1000).share("covered")
    assert share.low - 0.005 <= exact_coverage(world) <= share.high + 0.005


def test_a_cell_gives_the_same_result_again() -> None:
    cell = GridCell(World("real", 20, 0.3))
    assert simulate(cell, 5) == simulate(cell, 5)


def test_the_forecast_is_the_one_that_check_tells() -> None:
    world = World("0/1", 200, 0.1)
    told = forecast(GateSpec(min_delta=-0.02), world.design, level=LEVEL, hoped=0.0)
    assert simulate(ForecastCell(world), 1).values["pass -0.02"] == told.pass_if_hoped


def test_unchanged_models_are_judged_on_all_their_suites() -> None:
    worlds = (World("0/1", 100, 0.1), World("0/1", 100, 0.1, cluster=5, icc=0.2), World("real", 100, 0.3))
    assert simulate(SuitesCell("of all kinds", worlds), 5).counts == {"failed +0": 0, "failed -0.02": 0}
    worse = (World("0/1", 400, 0.3, -0.3), worlds[0])
    assert simulate(SuitesCell("one worse", worse), 5).counts == {"failed +0": 5, "failed -0.02": 5}


def test_a_finalist_or_a_look_at_the_margin_is_seldom_promoted() -> None:
    assert simulate(FinalistsCell(World("0/1", 100, 0.1)), 10).counts["promoted"] <= 2
    found = simulate(LooksCell(World("0/1", 100, 0.1)), 4).counts
    assert found.keys() == {f"promoted {name}" for name in SCHEDULES}
    assert max(found.values()) <= 2


@pytest.mark.parametrize("policy", SCHEDULES.values(), ids=SCHEDULES)
def test_a_ledger_never_spends_more_than_alpha(policy: PolicySpec) -> None:
    spent = levels(policy, LOOKS)
    assert 0.9 * policy.alpha < sum(spent) <= policy.alpha + 1e-12
    assert spent[policy.looks :] == [0.0] * (LOOKS - policy.looks)


def test_a_recipe_is_judged_over_its_seeds() -> None:
    assert simulate(RecipeCell(World("0/1", 50, 0.1), seeds=3, spread=1.0), 10).counts["promoted"] <= 2


def test_an_evaluation_stops_at_the_first_look_that_decides() -> None:
    cell = EarlyCell(World("0/1", 200, 0.4, 0.3), margin=0.0, hoped=0.2)
    (ours,), theirs = cell.world.draw(RNG(3))
    candidate, reference = scored("tuned", ours), scored("base", theirs)
    watch = GateWatch(POLICY, [GateSpec(min_delta=0.0)], [reference], LEVEL, 1, SEED)
    looks = [[candidate[1][i] for i in places] for places in cell.prefixes]
    first = next(len(samples) for samples in looks if watch.is_decided(samples))
    assert cell.decided(candidate, reference) == ("promote", first)
    assert 0 < first < 200


def test_a_large_comparison_is_measured_in_a_process_of_its_own() -> None:
    values = SpeedCell(1000, 5).run(1, RNG(0)).values
    assert values["seconds"] > 0
    assert 0 < values["records_bytes"] <= values["peak_bytes"]


def test_a_cell_that_errs_too_often_is_a_miss() -> None:
    cells = [cell for cell in grid_cells() if isinstance(cell, GridCell) and cell.world.n == 50]
    width = {"attainable_error": 0.05}
    fine = {one.name: Result(2000, {"covered": 1900, f"promoted {one.world.truth:+g}": 50}, width) for one in cells}
    assert all(finding.holds for finding in findings(fine))
    bad = fine | {cells[0].name: Result(2000, {"covered": 1800, f"promoted {cells[0].world.truth:+g}": 150})}
    assert sum(not finding.holds for finding in findings(bad)) == 3


def test_results_are_kept_and_come_back(tmp_path: Path) -> None:
    results = {"b": Result(3, {"x": 1}), "a": Result(1, values={"y": 0.1})}
    save(results, tmp_path / "kept.json")
    assert load(tmp_path / "kept.json") == results
    assert load(tmp_path / "none.json") == {}


def test_the_page_was_written_from_the_stored_results() -> None:
    page = (ROOT / "docs" / "decision.md").read_text(encoding="utf-8")
    assert page == document(load(ROOT / "bench" / "decision.json"))
