"""The registry of metrics: what each is called, which answers it scores, and how it is looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.errors import Problem, UsageError, did_you_mean
from harness.records import OutputType

Score = TypeVar("Score", bound=Callable[..., float])


@dataclass(frozen=True, slots=True)
class Metric:
    """One entry of the registry."""

    name: str
    output: OutputType
    """`generate`: scores a text; `choice`: scores the log-likelihoods of choices."""
    higher_is_better: bool
    binary: bool
    """True when every score is 0 or 1."""
    example: str
    """A gold answer for which the metric is meant."""
    summary: str
    """First line of the function's docstring."""
    function: Callable[..., float]


METRICS: dict[str, Metric] = {}


def metric(
    name: str, *, higher_is_better: bool = True, binary: bool, output: OutputType, example: str = "Paris"
) -> Callable[[Score], Score]:
    """Register a pure function under `name`."""

    def register(function: Score) -> Score:
        summary = (function.__doc__ or "").strip().split("\n")[0]
        METRICS[name] = Metric(name, output, higher_is_better, binary, example, summary, function)
        return function

    return register


def get(name: str) -> Metric:
    """The metric of that name; UsageError with the nearest name otherwise."""
    if name not in METRICS:
        raise UsageError(Problem("", f"unknown metric {name!r}", did_you_mean(name, list(METRICS))))
    return METRICS[name]


def score_text(name: str, answer: str, target: str) -> float:
    """Score a generated answer."""
    return float(_of_kind(name, "generate").function(answer, target))


def score_choice(
    name: str, logprobs: Sequence[float], choices: Sequence[str], target: int, delimiter: str = ""
) -> float:
    """Score the log-likelihoods of choices.

    `delimiter` is what stands before each choice as it was asked (`Task.target_delimiter`):
    lm-eval does not count it in a choice's length, so it is taken off first.
    """
    bare = [choice.removeprefix(delimiter) for choice in choices]
    if len(logprobs) != len(bare) or not 0 <= target < len(bare):
        raise ValueError(f"{len(logprobs)} logprobs, {len(bare)} choices, target {target}")
    return float(_of_kind(name, "choice").function(logprobs, bare, target))


def _of_kind(name: str, output: OutputType) -> Metric:
    found = get(name)
    if found.output != output:
        known = [other.name for other in METRICS.values() if other.output == output]
        raise UsageError(
            Problem("", f"metric {name!r} does not score {output} items", f"Known: {', '.join(sorted(known))}")
        )
    return found
