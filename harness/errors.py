"""The exception tree; every error a user can meet is one of these.

    HarnessError                 exit 1   something went wrong while running
    ├── UsageError               exit 2   the command, spec, suite or data is wrong; nothing was started
    │   ├── SpecError                     the experiment file
    │   ├── SuiteError                    a suite folder or task YAML
    │   └── DataError                     a data file
    ├── ModelError               exit 2   the base model cannot be had or read
    ├── EngineError              exit 1   a serving engine failed or died
    ├── TrainingError            exit 1   training cannot start or broke
    ├── StoreError               exit 1   a record cannot be written or read
    ├── BudgetError              exit 1   the budget of the experiment is spent; raised, the same command goes on
    ├── NotComparableError       exit 13  two runs were made under unlike conditions
    └── Stopped                  exit 130 the user ended it (Ctrl-C); the same command goes on

A message says what, where, got, allowed and what to do next. `Problem` holds
those five parts, and an error carries one or more, so that all faults of a file
are told at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

FIRST: Final = 5
"""Lines that are named of those at which the same is wrong."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault, told in the order a reader needs it."""

    where: str
    """File and path inside it, e.g. `experiment.yaml: gates[0].metric`."""
    what: str
    """The fault in a few words, with the value that was got."""
    allowed: str = ""
    """What would have been right."""
    next: str = ""
    """What to do now."""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        parts += [part for part in (self.allowed, self.next) if part]
        return " ".join(part if part.endswith((".", "?", "!")) else part + "." for part in parts)


class HarnessError(Exception):
    """Root of the tree. Made from one message or from several `Problem`s."""

    exit_code = 1

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = (Problem("", problems),)
        elif isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(told(self.problems)))


class UsageError(HarnessError):
    """The command or its input is wrong; nothing was started, nothing written."""

    exit_code = 2


class SpecError(UsageError):
    """The experiment file is wrong."""


class SuiteError(UsageError):
    """A suite folder or a task YAML in it is wrong."""


class DataError(UsageError):
    """A data file is missing, malformed, or would make the verdict a lie."""


class ModelError(HarnessError):
    """The base model cannot be had or read."""

    exit_code = 2


class EngineError(HarnessError):
    """A serving engine cannot start, died, or gave an answer that cannot be read."""


class TrainingError(HarnessError):
    """Training cannot start or broke."""


class StoreError(HarnessError):
    """A record cannot be written or read."""


class BudgetError(HarnessError):
    """The experiment's budget is spent; what was made is kept, and with a higher one it goes on."""


class NotComparableError(HarnessError):
    """Two runs were made under unlike conditions; the message names the field."""

    exit_code = 13


class Stopped(HarnessError):
    """The user ended it; nothing that was finished is lost."""

    exit_code = 130


def told(problems: Iterable[Problem]) -> list[str]:
    """Problems in words. What holds of many lines of a file alike is said once, with the first of them."""
    alike: dict[tuple[Problem, bool], dict[str, None]] = {}
    for problem in problems:
        found = None if "://" in problem.where else re.fullmatch(r"(.+):(\d+)", problem.where)
        of_file = replace(problem, where=found[1]) if found else problem
        alike.setdefault((of_file, found is not None), {})[found[2] if found else ""] = None
    return [
        str(replace(one, where=_at(one.where, list(lines))) if by_line else one)
        for (one, by_line), lines in alike.items()
    ]


def _at(file: str, lines: Sequence[str]) -> str:
    """`file:7`, `file, lines 7 and 9`, `file, lines 1, 2, 3, 4, 5 and 295 more`."""
    if len(lines) == 1:
        return f"{file}:{lines[0]}"
    named, rest = (lines[:-1], lines[-1]) if len(lines) <= FIRST else (lines[:FIRST], f"{len(lines) - FIRST:,} more")
    return f"{file}, lines {', '.join(named)} and {rest}"


def did_you_mean(got: str, known: Sequence[str]) -> str:
    """`Did you mean 'x'? Known: a, b, x.`, or only the second half when nothing is near."""
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.6)
    listed = f"Known: {', '.join(sorted(known))}"
    return f"Did you mean {near[0]!r}? {listed}" if near else listed
