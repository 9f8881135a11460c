"""Metrics of code: an answer is run with the tests of its item, in a sandbox, where the spec allows it."""

from __future__ import annotations

import math

from harness.metrics import sandbox, tools
from harness.metrics.registry import metric
from harness.metrics.scoring import fenced, field_of, target_object

_EXAMPLE = '{"before": "def add(a, b):\\n", "solution": "    return a + b", "tests": "assert add(1, 2) == 3"}'


@metric(
    "code_passes",
    binary=True,
    example=_EXAMPLE,
    target="JSON: `tests` (Python run after the answer); `before` it and the gold `solution` where there are any",
    gold=field_of("solution"),
    learnable=False,
    needs="code",
)
def code_passes(answer: str, target: str, *, seconds: float = 10.0) -> float:
    """1 when the tests pass after the answer is run (pass@1), in a sandbox; with repeats, pass@k is reported too.

    The program is `before`, the answer (the first code fence of it, where it has one) and `tests`. Raises
    UsageError unless the spec has `allow_code_execution: true`.
    """
    if seconds <= 0:
        raise ValueError("seconds is above 0")
    item = target_object(target, "tests")
    code = fenced(answer)
    if not code.strip():
        return 0.0
    tools.refuse_unless_code_may_run()
    sandbox.refuse_unless_held()
    return float(sandbox.run(f"{item.get('before', '')}{code}\n\n{item['tests']}\n", seconds).finished)


def pass_at_k(answers: int, passed: int, k: int) -> float:
    """Chance that at least one of k answers passes, from `passed` of `answers` that did (Chen et al. 2021).

    Unbiased: 1 - C(answers - passed, k) / C(answers, k). Needs k <= answers.
    """
    if not 0 <= passed <= answers or not 1 <= k <= answers:
        raise ValueError(f"{passed} of {answers} passed, k = {k}")
    return 1.0 - math.comb(answers - passed, k) / math.comb(answers, k)
