"""What a suite is once it is loaded: named tasks with their items, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records import Decoding, Item, OutputType, Role, SplitName, digest


@dataclass(frozen=True, slots=True)
class Task:
    """Items of one kind with their metrics and decoding."""

    name: str
    output_type: OutputType
    """`generate`: the answer is text; `choice`: log-likelihoods of the item's choices are compared."""
    items: tuple[Item, ...]
    metrics: tuple[str, ...]
    """Names from harness.metrics; the first is the primary one."""
    decoding: Decoding
    filters: tuple[tuple[str, str], ...] = ()
    """Steps applied to an answer before scoring, as (function, argument), e.g. ("remove_whitespace", "")."""
    target_delimiter: str = ""
    """Choice tasks: what stands before each choice as asked; it does not count in a choice's length."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Named tasks with a role."""

    name: str
    role: Role
    split: SplitName
    tasks: tuple[Task, ...]

    @property
    def fingerprint(self) -> str:
        """Content identity of all items and how they are scored; independent of order."""
        return digest(
            [
                [t.name, t.output_type, t.metrics, t.filters, t.target_delimiter, t.decoding.model_dump(mode="json"),
                 sorted(f"{i.id}:{i.digest}" for i in t.items)]
                for t in sorted(self.tasks, key=lambda t: t.name)
            ]
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Number of items over all tasks."""
        return sum(len(task.items) for task in self.tasks)
