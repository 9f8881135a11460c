"""The generated part of the document: cells as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prompting.methods import BY_NAME, METHODS
from prompting.summing import Estimate, Scores, difference, estimate
from prompting.tasks import TASKS

BEGIN, END = "<!-- measured by bench/prompt_search.py -->", "<!-- /measured -->"
Cells = Sequence[dict[str, Any]]
"""As `cells.run` returns them."""


def written(page: str, cells: Cells, setting: str) -> str:
    """The page with its generated part made anew. Raises ValueError where it has none."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no part between {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{generated(cells, setting)}\n\n{END}{tail}"


def generated(cells: Cells, setting: str) -> str:
    """All tables."""
    parts = [setting, _in_short(cells), _against(cells), *(_of_task(cells, task) for task in _tasks(cells))]
    return "\n\n".join([*parts, _winners(cells)])


def scores(cells: Cells, task: str, method: str, metric: str | None = None) -> Scores:
    """Shape (seeds, test items); the task's own metric unless another is named."""
    metric = metric or TASKS[task].metric
    found = [cell["test"]["scores"][metric] for cell in _of(cells, task, method)]
    return np.array(found, dtype=np.float64)


def _in_short(cells: Cells) -> str:
    """Methods that met every task, over all of them."""
    tasks, lines = _tasks(cells), []
    for method in _whole(cells):
        found = estimate([scores(cells, task, method) for task in tasks])
        over = _means(cells, lambda cell, method=method: cell["method"] == method)
        lines.append([f"`{method}`", _percent(found), *_figures(over)])
    told = [f"- `{method.name}`: {method.told}" for method in METHODS if method.name in {c["method"] for c in cells}]
    return "\n".join([f"## Mean over tasks ({len(tasks)})", "", *told, "", _table(["method", "test", *FIGURES], lines)])


def _against(cells: Cells) -> str:
    """The race's lead over each peer, paired by test item."""
    if "race" not in _whole(cells):
        return ""
    tasks = _tasks(cells)
    race = [scores(cells, task, "race") for task in tasks]
    lines = [
        [f"`{method}`", _points(difference(race, [scores(cells, task, method) for task in tasks]))]
        for method in _whole(cells)
        if method != "race"
    ]
    return "## The race minus each\n\n" + _table(["against", "points on test, mean over tasks"], lines)


def _of_task(cells: Cells, task: str) -> str:
    further = [name for name in TASKS[task].metrics if name != TASKS[task].metric]
    lines = []
    for method in _methods(cells, task):
        over = _means(cells, lambda cell, method=method: cell["method"] == method and cell["task"] == task)
        more = [f"{100 * np.nanmean(scores(cells, task, method, name)):.1f}" for name in further]
        lines.append([f"`{method}`", _percent(estimate([scores(cells, task, method)])), *more, *_figures(over)])
    heads = ["method", f"test, {TASKS[task].metric}", *further, *FIGURES]
    return f"## {task}\n\n" + _table(heads, lines)


def _winners(cells: Cells) -> str:
    lines = [
        [f"`{cell['method']}`", cell["task"], str(cell["seed"]), f"`{cell['winner']}`", str(cell["demonstrations"])]
        for cell in cells
        if BY_NAME[cell["method"]].searches
    ]
    return "## Which prompts were found\n\n" + _table(["method", "task", "seed", "prompt", "demonstrations"], lines)


FIGURES = ("dev", "at half", "tokens a request", "calls", "tokens in all", "seconds", "CPU s")
"""Columns beside the test score: means over seeds (and tasks)."""


def _means(cells: Cells, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, float | None]:
    some = [cell for cell in cells if wanted(cell)]
    searched = [cell for cell in some if BY_NAME[cell["method"]].searches]
    asked = [len(next(iter(cell["test"]["scores"].values()))) for cell in some]
    return {
        "dev": mean([cell["dev"] for cell in some]),
        "half": mean([half_share(cell) for cell in searched]),
        "request": mean([cell["test"]["tokens_in"] / n for cell, n in zip(some, asked, strict=True)]),
        "calls": mean([cell["calls"] for cell in some]),
        "tokens": mean([cell["tokens"] for cell in some]),
        "seconds": mean([cell["seconds"] for cell in some]),
        "cpu_seconds": mean([cell["cpu_seconds"] for cell in some]),
    }


def half_share(cell: dict[str, Any]) -> float | None:
    """What the leader at half of the calls scores on all of dev, as a share of the winner's score there.

    0 where there was no leader yet; None where the winner itself has no score to be a share of.
    """
    if not cell["dev"]:
        return None
    return (cell["half"]["dev"] or 0.0) / cell["dev"] if cell["half"] else 0.0


def _figures(of: dict[str, float | None]) -> list[str]:
    def shown(name: str, form: Callable[[float], str]) -> str:
        value = of[name]
        return "–" if value is None else form(value)

    return [
        shown("dev", lambda x: f"{100 * x:.1f}"),
        shown("half", lambda x: f"{100 * x:.0f} %"),
        shown("request", lambda x: f"{x:.0f}"),
        shown("calls", lambda x: f"{x:.0f}"),
        shown("tokens", lambda x: f"{x:,.0f}"),
        shown("seconds", lambda x: f"{x:.0f}"),
        shown("cpu_seconds", lambda x: f"{x:.0f}"),
    ]


def mean(values: Sequence[float | None]) -> float | None:
    """Of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _tasks(cells: Cells) -> list[str]:
    return [task for task in TASKS if any(cell["task"] == task for cell in cells)]


def _methods(cells: Cells, task: str) -> list[str]:
    return [method.name for method in METHODS if _of(cells, task, method.name)]


def _whole(cells: Cells) -> list[str]:
    """Methods with cells on every task: only they have a mean over tasks."""
    return [method.name for method in METHODS if all(_of(cells, task, method.name) for task in _tasks(cells))]


def _of(cells: Cells, task: str, method: str) -> list[dict[str, Any]]:
    return [cell for cell in cells if (cell["task"], cell["method"]) == (task, method)]


def _percent(found: Estimate) -> str:
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _points(found: Estimate) -> str:
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
