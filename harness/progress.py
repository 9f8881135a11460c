"""How long work tells a person that it goes on: one small protocol, silent by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """One piece of work with a known number of steps."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` is shown beside the bar."""
        ...


class Progress(Protocol):
    """Where progress goes; the command line shows it on stderr."""

    def stage(self, title: str) -> None:
        """A new stage of the experiment begins."""
        ...

    def note(self, text: str) -> None:
        """One line a person should see."""
        ...

    @contextmanager
    def bar(self, label: str, total: int, done: int = 0) -> Iterator[Bar]:
        """A bar for `total` steps of which `done` are done already."""
        ...


class _NoBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


class Silent:
    """Shows nothing; for tests and library use."""

    def stage(self, title: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    @contextmanager
    def bar(self, label: str, total: int, done: int = 0) -> Iterator[Bar]:
        yield _NoBar()
