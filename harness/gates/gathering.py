"""What each gate is judged on, out of the runs at hand."""

from __future__ import annotations

from collections.abc import Sequence

from harness.compare import Pairs, Prices, Scored, alone, higher_is_better, join, slice_values
from harness.gates.questions import Answered, Evidence
from harness.gates.rules import GateSpec
from harness.records import Claim


def gather(
    gate: GateSpec, candidates: Sequence[Scored], reference: Scored | None, claim: Claim, prices: Prices | None
) -> Evidence:
    """The evidence of one gate on one candidate.

    candidates: its run on the gate's suite; for the claim `recipe` one run a training seed.
    reference: the run that the gate compares with; None for a rule that compares with nothing.
    Raises NotComparableError for runs made under unlike conditions, UsageError for names that the runs do not have.
    """
    if gate.rule == "must_not_break":
        return answered(candidates)
    metric = gate.metric or "primary"
    if gate.rule in ("at_least", "at_most"):
        if len(candidates) == 1:
            return alone(candidates[0], task=gate.task, metric=metric, slice=gate.slice, prices=prices)
        return {
            f"seed={_seed(one)}": alone(one, task=gate.task, metric=metric, slice=gate.slice, prices=prices)
            for one in candidates
        }
    if reference is None:
        return None

    def joined(slice: str | None) -> Pairs:
        return join(
            candidates, reference, task=gate.task, metric=metric, slice=slice, claim=claim, factor=factor(gate),
            prices=prices,
        )  # fmt: skip

    if gate.worst_slice is None:
        return joined(gate.slice)
    inside = [sample for sample in reference[1] if gate.task in ("*", sample.task)]
    values = slice_values(inside, gate.worst_slice)
    return {f"{gate.worst_slice}={value}": joined(f"{gate.worst_slice}={value}") for value in values}


def factor(gate: GateSpec) -> float:
    """What the reference is multiplied with for a relative margin; 1 for an absolute one.

    `min_delta: -0.02` may get 2 % worse: 0.98 times a score, 1.02 times a latency.
    """
    if not gate.relative or gate.min_delta is None:
        return 1.0
    return 1 + gate.min_delta if higher_is_better(gate.metric or "primary") else 1 - gate.min_delta


def answered(candidates: Sequence[Scored]) -> Answered:
    """Must-not-break items: right with full marks on the primary metric, for every training seed."""
    right, wrong, unscored = dict[str, None](), dict[str, None](), dict[str, None]()
    for run, samples in candidates:
        for sample in samples:
            score = sample.scores.get(run.primary[sample.task])
            where = unscored if score is None or score != score else right if score >= 1 else wrong
            where[sample.id] = None
    return Answered(
        right=tuple(id for id in right if id not in wrong and id not in unscored),
        wrong=tuple(wrong),
        unscored=tuple(id for id in unscored if id not in wrong),
    )


def _seed(scored: Scored) -> str:
    adapter = scored[0].candidate.adapter
    return str(adapter.seed) if adapter else scored[0].candidate.name
