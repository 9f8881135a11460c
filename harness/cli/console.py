"""What the command line shows: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from harness.errors import HarnessError, told
from harness.progress import Bar

PIPED_WIDTH = 140
"""Columns where no terminal says how many there are: wide enough for every table."""


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=width)


out = _console(stderr=False)
err = _console(stderr=True)

MARKS = {"pass": ("✔ pass", "green"), "fail": ("✘ fail", "red"), "inconclusive": ("? inconclusive", "yellow")}
DECISIONS = {
    "promote": ("PROMOTE", "bold green"),
    "reject": ("REJECT", "bold red"),
    "inconclusive": ("INCONCLUSIVE", "bold yellow"),
    "prompt_suffices": ("PROMPT SUFFICES", "bold cyan"),
}


MOST: Final = 40
"""Problems that are printed."""


def plain(text: str) -> str:
    """Text that only shows: control characters, which a terminal would obey, become a question mark in a box."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def print_json(document: Any) -> None:
    """One JSON document on stdout. Plain `print`: rich would wrap and colour it."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_error(error: HarnessError) -> None:
    """Every problem on a line of its own, on stderr; of very many the first, `--json` has them all."""
    said = told(error.problems)
    many = len(said) > 1
    err.print(
        Text.assemble(("error: ", "bold red"), f"{len(error.problems):,} problems" if many else plain(str(error)))
    )
    for one in said[:MOST] if many else ():
        err.print(Text.assemble("  • ", plain(one)))
    if len(said) > MOST:
        err.print(f"  and {len(said) - MOST:,} more")


def table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str | Text]]) -> Table:
    """A plain table; columns are (heading, `left` or `right`)."""
    made = Table(
        title=Text(plain(title)) if title else None,  # no markup from data
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for heading, side in columns:
        made.add_column(Text(plain(heading)), justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(cell)) if isinstance(cell, str) else cell for cell in row))
    return made


def mark(outcome: str) -> Text:
    """A gate's outcome by sign, word and colour."""
    return Text(*MARKS[outcome])


class _RichBar:
    def __init__(self, progress: RichProgress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._progress.update(self._task, advance=steps, note=note)


class _LogBar:
    """A bar where nobody watches live (a log file): one line at most every half minute."""

    def __init__(self, label: str, total: int, done: int) -> None:
        self._label, self._total, self._done = label, total, done
        self._began, self._before = time.monotonic(), done
        self._said = self._began

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        if time.monotonic() - self._said >= 30:
            self._said = time.monotonic()
            pace = (self._said - self._began) / max(1, self._done - self._before)
            left = f"{_clock(pace * max(0, self._total - self._done))} left"
            err.print(f"  {self._label} {self._done}/{self._total} {left} {note}".rstrip(), markup=False)


class ConsoleProgress:
    """Progress on stderr: live bars on a terminal, now and then a line in a log."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def stage(self, title: str) -> None:
        elapsed = time.monotonic() - self._started
        err.print(Text.assemble((f"{title}", "bold"), (f"  {_clock(elapsed)}", "dim")))

    def note(self, text: str) -> None:
        err.print(Text(plain(f"  {text}")))

    @contextmanager
    def bar(self, label: str, total: int, done: int = 0) -> Iterator[Bar]:
        if not err.is_terminal:
            yield _LogBar(label, total, done)
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        with RichProgress(*columns, console=err, transient=True) as live:
            task = live.add_task(label, total=total, completed=done, note="")
            yield _RichBar(live, task)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
