"""Metrics of the log-likelihoods of several choices against the right one."""

from __future__ import annotations

from collections.abc import Sequence

from harness.metrics.registry import metric


def _best(values: Sequence[float]) -> int:
    """Index of the greatest value; the first of equals, as numpy's argmax in lm-eval."""
    return max(range(len(values)), key=values.__getitem__)


@metric("acc", binary=True, output="choice")
def acc(logprobs: Sequence[float], choices: Sequence[str], target: int) -> float:
    """1 when the right choice is the likeliest."""
    return float(_best(logprobs) == target)


@metric("acc_norm", binary=True, output="choice")
def acc_norm(logprobs: Sequence[float], choices: Sequence[str], target: int) -> float:
    """1 when the right choice is the likeliest per character (as lm-eval's acc_norm)."""
    return acc([value / len(choice) for value, choice in zip(logprobs, choices, strict=True)], choices, target)


@metric("acc_bytes", binary=True, output="choice")
def acc_bytes(logprobs: Sequence[float], choices: Sequence[str], target: int) -> float:
    """1 when the right choice is the likeliest per UTF-8 byte (as lm-eval's acc_bytes)."""
    return acc([value / len(choice.encode()) for value, choice in zip(logprobs, choices, strict=True)], choices, target)
