"""Are decisions right? Simulates gates through the real code, records in and verdict out, and tells what came of it.

    python bench/decision.py --jobs 2                      everything, 2,000 trials a cell
    python bench/decision.py --only looks --trials 200     one scenario again
    python bench/decision.py --only --write docs/decision.md      the document from stored results

Results are kept in a JSON file, a line a cell; a rerun replaces its own lines. Every cell has a seed of its own, made
from its name, so that results do not depend on what else is run, nor on the number of jobs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from deciding.contract import findings
from deciding.early import early_cells
from deciding.families import family_cells
from deciding.grid import grid_cells
from deciding.recipes import recipe_cells
from deciding.results import Cell, Results, load, save, simulate
from deciding.speed import speed_cells
from deciding.writing import document
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

HERE = Path(__file__).parent
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def all_cells() -> list[Cell]:
    """Every cell of every scenario."""
    return [*grid_cells(), *family_cells(), *early_cells(), *recipe_cells(), *speed_cells()]


def simulate_all(cells: Sequence[Cell], trials: int, jobs: int, results: Results, file: Path) -> None:
    """Simulate cells and store each as it ends; the longest begin first."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # a job is one core; read by numpy as it is loaded, hence spawn
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    with Progress(*columns, console=Console(stderr=True)) as progress, pool:
        bar = progress.add_task("cells", total=len(cells))
        waiting = {
            pool.submit(simulate, cell, trials): cell for cell in sorted(cells, key=lambda one: one.cost, reverse=True)
        }
        for done in as_completed(waiting):
            results[waiting[done].name] = done.result()
            save(results, file)
            progress.advance(bar)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    cells = all_cells()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=2000, help="trials a cell (default 2000)")
    parser.add_argument("--only", nargs="*", help="scenarios or beginnings of names; other results stay")
    parser.add_argument("--missing", action="store_true", help="only cells that have no result yet")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--json", type=Path, default=HERE / "decision.json", help="where results are kept")
    parser.add_argument("--write", type=Path, help="write the document here")
    given = parser.parse_args(arguments)
    for start in given.only or ():
        if not any(cell.name.startswith(start) for cell in cells):
            parser.error(f"no cell begins with {start!r}; scenarios: {', '.join(sorted({c.scenario for c in cells}))}")
    results = load(given.json)
    wanted = [cell for cell in cells if given.only is None or cell.name.startswith(tuple(given.only))]
    if given.missing:
        wanted = [cell for cell in wanted if cell.name not in results]
    simulate_all(wanted, given.trials, given.jobs, results, given.json)
    names = {cell.name for cell in cells}
    results = {name: result for name, result in results.items() if name in names}
    save(results, given.json)
    for finding in findings(results):
        print(finding.line)
    if given.write:
        given.write.write_text(document(results), encoding="utf-8")


if __name__ == "__main__":
    main()
