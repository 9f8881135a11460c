"""A gate policy: the rules of a team, how much error they allow, and how it is spent over looks and gates.

One number, `alpha`, bounds two errors, each at most alpha:

    wrong promotion   over all looks at one test split. A promotion needs every blocking gate, so gates need
                      no correction among themselves (intersection-union test; Berger 1982, Technometrics 24,
                      295-300); looks do, and every finalist is a look. Each look spends part of alpha.
    wrong FAIL        of an unchanged candidate over the family of gates. Holm's step-down procedure (Holm 1979,
                      Scandinavian Journal of Statistics 6, 65-70) at alpha / 2, so that with one gate and at
                      the first look both ends of the interval err alike: the usual 95 % interval.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.gates.rules import GateSpec
from harness.partspec import PartSpec
from harness.records import Claim, Spending

LEAST = 1e-9
"""A level below this is none: no finite sample passes at it."""


class PolicySpec(PartSpec):
    """What a promotion takes. In the experiment file under `policy`, or a YAML of its own shared by a team."""

    alpha: Annotated[float, Field(gt=0, le=0.3)] = 0.05
    """Chance of a wrong promotion over all looks at one test split; also of any wrong FAIL over the family."""
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Chance to pass that `harness check` asks of every blocking gate."""
    claim: Claim = "artifact"
    """`artifact`: these very weights are better. `recipe`: training this way is, over seeds."""
    family: Literal["blocking", "all"] = "blocking"
    """Gates that share the chance of a wrong FAIL: the blocking ones, or advisory ones too."""
    looks: Annotated[int, Field(ge=1, le=1000)] = 5
    """Candidates that may be judged on one test split, over all experiments that share it."""
    spending: Spending = "halving"
    """`halving`: each look spends half of what is left of alpha. `even`: alpha / looks each. `open_ended`: look k
    spends alpha / (k (k + 1)), however many there will be; `looks` then bounds nothing."""
    max_unscored: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Largest share of items without a score at which a gate still decides."""
    gates: tuple[GateSpec, ...] = ()
    """Rules that hold for every experiment under this policy; the experiment's own gates come on top."""


def level_at(policy: PolicySpec, spent: float, number: int) -> float:
    """What look `number` (from 1) may spend when earlier looks spent `spent`: one-sided, 0 when nothing is left.

    Alpha spending by Bonferroni with unequal parts: over all looks no more than alpha is spent, whatever
    budgets and schedules the looks were made under, so the chance that any of them promotes a candidate that is
    no better than the bar stays at or below alpha. Looks at one split are dependent; the bound needs nothing of that.
    """
    left = max(policy.alpha - spent, 0.0)
    if policy.spending == "open_ended":  # 1/2 + 1/6 + 1/12 + ... = 1
        return min(policy.alpha / (number * (number + 1)), left)
    if number > policy.looks:
        return 0.0
    level = left / 2 if policy.spending == "halving" else left / (policy.looks - number + 1)
    return level if level >= LEAST else 0.0
