"""What metrics may use beside the answer: running it, a judge, embeddings. Nothing, unless the evaluation says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.errors import Problem, UsageError

Ask = Callable[[str, str], str]
"""Instruction and question to a language model's answer; raises `Unscored(fault=True)` when there is none."""
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to vectors of length 1, (texts, dimensions)."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A language model that grades, named by the spec."""

    name: str
    """Model and server, for people."""
    ask: Ask
    """Asks it, greedily."""
    rubric: str = ""
    """What a good answer is, in the spec's words; empty for the general one."""
    afresh: Ask | None = None
    """Asks it again what it was asked before; None where `ask` remembers nothing."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What is allowed and given."""

    run_code: bool = False
    """Whether answers may be run (`allow_code_execution: true` in the spec)."""
    judge: Judge | None = None
    """Who grades (`judge` in the spec)."""
    embedder: Callable[[str], Embed] | None = None
    """From the name of an embedding model to what embeds texts by it."""


_given = [Tools()]


@contextmanager
def using(tools: Tools) -> Iterator[None]:
    """Metrics may use these tools inside the block, in all threads of this process."""
    _given.append(tools)
    try:
        yield
    finally:
        _given.remove(tools)


@contextmanager
def afresh() -> Iterator[None]:
    """Inside the block the judge is asked again, whatever it said before."""
    given = _given[-1]
    if given.judge is not None and given.judge.afresh is not None:
        given = replace(given, judge=replace(given.judge, ask=given.judge.afresh))
    with using(given):
        yield


def judge() -> Judge:
    """The judge; UsageError when none is named."""
    found = _given[-1].judge
    if found is None:
        hint = "Name one: judge: {url: ..., model: ...}. The model under test is never its own judge by default"
        raise UsageError(Problem("judge", "no judge is named", next=hint))
    return found


def refuse_unless_code_may_run() -> None:
    """UsageError unless the spec allows code execution."""
    if not _given[-1].run_code:
        hint = "Read about the sandbox's limits in docs/metrics.md, then set allow_code_execution: true in the spec"
        raise UsageError(Problem("", "a metric runs what the model wrote, and that is not allowed", next=hint))


def embedder(model: str) -> Embed:
    """What embeds texts by that model; UsageError where nothing does."""
    found = _given[-1].embedder
    if found is None:
        raise UsageError(Problem("", f"a metric embeds texts by {model!r}, and no embedding models are at hand"))
    return found(model)
