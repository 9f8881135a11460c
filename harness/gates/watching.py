"""Stopping an evaluation as soon as every gate on it is decided, by tests that hold at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.compare import HUMAN, MEASURES, Scored
from harness.gates.gathering import gather
from harness.gates.judging import Entrant, questions
from harness.gates.policy import PolicySpec
from harness.gates.rules import GateSpec
from harness.metrics import CORPUS_METRICS
from harness.records import EarlyStop, SampleRecord


class GateWatch:
    """Watches one candidate's answers to one suite against the run of its reference; see `evaluate.Watch`.

    The intervals behind it are confidence sequences (`harness.stats.sequences`): they may be looked at after every
    answer. The gates are judged on them in the end too, also when every item was asked, and at the same levels: a
    FAIL at the family's first and strictest step.
    """

    method = "betting"

    def __init__(
        self, policy: PolicySpec, gates: Sequence[GateSpec], references: Sequence[Scored], level: float, family: int,
        seed: int,
    ) -> None:  # fmt: skip
        """gates: those on this suite, each with its reference's run. level: what a pass may spend. family: its size."""
        self.seed = seed
        self._policy = policy
        self._gates = gates
        self._references = references
        self._level = level
        self._fail_level = policy.alpha / 2 / family

    def is_decided(self, samples: Sequence[SampleRecord]) -> bool:
        """Whether every gate is decided, or a blocking one failed: then no further item can change the decision."""
        outcomes = []
        for gate, reference in zip(self._gates, self._references, strict=True):
            whole, _ = reference
            asked = EarlyStop(method=self.method, asked=_items(samples), of=_items(reference[1]), seed=self.seed)
            so_far = whole.model_copy(update={"id": "so far", "n": asked.asked, "stopped": asked})
            evidence = gather(gate, [(so_far, samples)], reference, "artifact", None)
            for question in questions(self._policy, gate, evidence, Entrant("so far", self._level, ())):
                outcome = question.outcome(self._fail_level)
                if gate.blocking and outcome == "fail":
                    return True
                outcomes.append(outcome)
        return "inconclusive" not in outcomes


def can_be_watched(policy: PolicySpec, gates: Sequence[GateSpec]) -> bool:
    """Whether every gate on a suite has an anytime-valid test: a margin on the mean of scores in [0, 1]."""
    unfit = {HUMAN, *MEASURES, *CORPUS_METRICS}
    return policy.claim == "artifact" and bool(gates) and all(
        gate.rule == "min_delta" and gate.metric not in unfit for gate in gates
    )  # fmt: skip


def family_size(policy: PolicySpec, gates: Sequence[GateSpec], values: Callable[[GateSpec], int], entrants: int) -> int:
    """How many questions share the chance of a wrong FAIL. values: of a gate on the worst slice, how many slices."""
    sizes = [
        values(gate) if gate.worst_slice else int(gate.rule != "must_not_break")
        for gate in gates
        if policy.family == "all" or gate.blocking
    ]
    return max(1, entrants * sum(sizes))


def _items(samples: Sequence[SampleRecord]) -> int:
    return len({(sample.task, sample.id) for sample in samples})
