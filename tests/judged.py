"""Gates judged on runs made by hand: records in, gate records out, as the pipeline does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scored_runs import run, sample

from harness.compare import Prices, Scored
from harness.gates import Entrant, GateSpec, PolicySpec, gather, judge
from harness.records import AdapterRef, GateRecord, SampleRecord

Side = list[SampleRecord]
ONCE = PolicySpec(looks=1, spending="halving")
"""One look: both ends of an interval err with 2.5 %."""


def table(gained: int, lost: int, n: int, right: int = 0, missing: int = 0, **more: Any) -> tuple[Side, Side]:
    """Candidate's and reference's samples: so many gained, lost, right on both sides; the last `missing` unscored."""
    rest = n - gained - lost - right
    pairs = [(1, 0)] * gained + [(0, 1)] * lost + [(1, 1)] * right + [(0, 0)] * rest
    new = [sample(f"{i:05d}", a, **more) for i, (a, _) in enumerate(pairs)]
    old = [sample(f"{i:05d}", b, **more) for i, (_, b) in enumerate(pairs)]
    new += [sample(f"x{i:04d}", None, **more) for i in range(missing)]
    old += [sample(f"x{i:04d}", 1, **more) for i in range(missing)]
    return new, old


def values(ours: Sequence[float | None], theirs: Sequence[float | None], **more: Any) -> tuple[Side, Side]:
    """Real scores, item by item."""
    new = [sample(f"{i:05d}", x, **more) for i, x in enumerate(ours)]
    return new, [sample(f"{i:05d}", x, **more) for i, x in enumerate(theirs)]


def candidate(samples: Side, seed: int = 0, **more: Any) -> Scored:
    """A tuned candidate's run."""
    made = run(samples, f"tuned-seed{seed}", **more)
    adapter = AdapterRef(digest=f"a{seed}", method="lora", seed=seed)
    return made.model_copy(update={"candidate": made.candidate.model_copy(update={"adapter": adapter})}), samples


def gate(min_delta: float | None = -0.01, **more: Any) -> GateSpec:
    return GateSpec(min_delta=min_delta, **more)


def judged(
    spec: GateSpec,
    sides: tuple[Side, Side],
    *,
    policy: PolicySpec = ONCE,
    level: float = 0.025,
    prices: Prices | None = None,
) -> GateRecord:
    """One gate on one candidate."""
    new, old = sides
    evidence = gather(spec, [candidate(new)], (run(old, "base"), old), policy.claim, prices)
    ((record,),), _ = judge(policy, [spec], [Entrant("tuned", level, [evidence])])
    return record
