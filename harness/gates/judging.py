"""Applying gates: signed rules over evidence, FAILs corrected over their family, and the decision that follows.

With the interval [low, high] of what a gate measures: pass if low > margin, fail if high < margin, otherwise
inconclusive. low errs with what the look at the test split may spend (`policy.level_at`); high with the
gate's share of the family's alpha / 2, by Holm's step-down procedure. Without evidence a gate never passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.compare import Pairs, Single
from harness.gates.policy import PolicySpec
from harness.gates.questions import Answered, Evidence, Question
from harness.gates.reasons import broken_reason, parts_reason, reason
from harness.gates.rules import GateSpec
from harness.records import Decision, Family, GateRecord, Outcome, SliceOutcome

WORST: tuple[Outcome, ...] = ("fail", "inconclusive", "pass")


@dataclass(frozen=True, slots=True)
class Entrant:
    """One candidate before the gates."""

    name: str
    """Candidate name."""
    level: float
    """One-sided chance of a wrong pass that its look at the test split may spend; 0 when none is left."""
    evidence: Sequence[Evidence]
    """What each gate is judged on, in the order of the gates."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """Suite to what passes on it may err with, where each suite has a look of its own; others have `level`."""

    def level_on(self, suite: str) -> float:
        """One-sided chance of a wrong pass that a gate on this suite may spend."""
        return self.levels.get(suite, self.level)


Asked = list[tuple[Question, float]]
"""Questions of one gate with the level at which each may fail."""


def judge(
    policy: PolicySpec, gates: Sequence[GateSpec], entrants: Sequence[Entrant]
) -> tuple[list[list[GateRecord]], Family | None]:
    """Every gate of every entrant, and the family that their FAILs were corrected over.

    A gate is inconclusive, whatever its interval says, when there is no evidence, no scored item or no interval,
    when more than `max_unscored` of the items have no score, and when every score on both sides is 0 (nothing can
    fall below 0, so not having lost shows nothing). Also when a pass would not hold with every unscored item
    counted as the candidate's loss, or a fail with every one as its gain: items do not fail at random.

    The chance of any wrong FAIL in the family is at most alpha / 2 (Holm 1979). A gate on the worst slice puts
    each slice into the family; its pass needs none, since every slice has to pass. Gates outside the family
    fail at alpha / 2 each. Must-not-break items are certain: one that is wrong fails, and spends nothing.
    """
    asked = [[questions(policy, *pair, entrant) for pair in zip(gates, entrant.evidence, strict=True)]
             for entrant in entrants]  # fmt: skip
    family = [
        question
        for row in asked
        for gate, own in zip(gates, row, strict=True)
        if policy.family == "all" or gate.blocking
        for question in own
    ]
    levels = _holm(family, policy.alpha / 2)
    records = [
        [
            _record(gate, entrant, evidence, [(q, levels.get(q, policy.alpha / 2)) for q in own])
            for gate, evidence, own in zip(gates, entrant.evidence, row, strict=True)
        ]
        for entrant, row in zip(entrants, asked, strict=True)
    ]
    members = tuple(f"{q.entrant}: {q.name}" if len(entrants) > 1 else q.name for q in family)
    return records, Family(correction="holm", alpha=policy.alpha / 2, members=members) if members else None


def questions(policy: PolicySpec, gate: GateSpec, evidence: Evidence, entrant: Entrant) -> list[Question]:
    """One question for a gate, one a part for a gate that has to hold on several; none for must-not-break items."""
    if isinstance(evidence, Answered):
        return []
    most = policy.max_unscored if gate.max_unscored is None else gate.max_unscored
    parts = evidence if isinstance(evidence, Mapping) else {None: evidence}
    level = entrant.level_on(gate.suite)
    return [Question(gate, entrant.name, name, part, level, most) for name, part in parts.items()]


def _holm(questions: Sequence[Question], alpha: float) -> dict[Question, float]:
    """The level at which each question may fail.

    Holm's step-down procedure by intervals instead of p-values: all questions at alpha / m; those that fail
    leave, the rest are tested again at alpha / (number left), until none fails any more.
    """
    left, levels = list(questions), dict[Question, float]()
    while left:
        levels |= dict.fromkeys(left, alpha / len(left))
        staying = [question for question in left if not question.fails(alpha / len(left))]
        if len(staying) == len(left):
            break
        left = staying
    return levels


def _record(gate: GateSpec, entrant: Entrant, evidence: Evidence, asked: Asked) -> GateRecord:
    if isinstance(evidence, Answered) or not asked:
        return _kept(gate, entrant, evidence if isinstance(evidence, Answered) else Answered((), (), ()))
    asked = sorted(asked, key=lambda pair: (WORST.index(pair[0].outcome(pair[1])), pair[0].nearness()))
    question, level = asked[0]
    parts = tuple(_part(one, at) for one, at in asked) if isinstance(evidence, Mapping) else ()
    told = reason(question, level)
    low, high = question.ends(level)
    return GateRecord(
        candidate=entrant.name,
        rule=gate.rule,
        suite=gate.suite,
        task=gate.task,
        slice=f"worst of {gate.worst_slice}" if gate.worst_slice else gate.slice,
        metric=gate.metric or "primary",
        against=gate.against if gate.rule == "min_delta" else None,
        min_delta=gate.min_delta,
        relative=gate.relative,
        limit=gate.at_most if gate.at_least is None else gate.at_least,
        blocking=gate.blocking,
        outcome=question.outcome(level),
        reason=parts_reason(parts, told) if parts else told,
        low=low,
        high=high,
        pass_level=entrant.level_on(gate.suite),
        fail_level=level,
        comparison=question.evidence.record() if isinstance(question.evidence, Pairs) else None,
        estimate=question.evidence.interval(0.95) if isinstance(question.evidence, Single) else None,
        slices=parts,
    )


def _part(question: Question, level: float) -> SliceOutcome:
    low, high = question.ends(level)
    return SliceOutcome(
        slice=str(question.slice),
        outcome=question.outcome(level),
        n=question.n,
        value=question.value,
        low=low,
        high=high,
    )


def _kept(gate: GateSpec, entrant: Entrant, answered: Answered) -> GateRecord:
    """Must-not-break items: every one right passes, one that is wrong fails; no level of error is involved."""
    undecided = answered.unscored or not answered.right
    return GateRecord(
        candidate=entrant.name,
        rule=gate.rule,
        suite=str(gate.must_not_break),
        task="*",
        metric="primary",
        against=None,
        min_delta=None,
        blocking=gate.blocking,
        outcome="fail" if answered.wrong else "inconclusive" if undecided else "pass",
        reason=broken_reason(answered),
        comparison=None,
        broken=answered.wrong,
    )


# ------------------------------------------------------------------------------ deciding


def decide(gates: Sequence[GateRecord], *, spent: bool = False) -> tuple[Decision, str]:
    """The decision over one candidate's gates, with its reason.

    spent: whether its look at the test split had nothing to spend; then nothing is promoted, whatever passed.
    reject when any blocking gate fails, promote when every blocking gate passes, else
    inconclusive; also without a single blocking gate: nothing was asked, so nothing passed.
    """
    blocking = [gate for gate in gates if gate.blocking]
    if not blocking:
        return "inconclusive", "No blocking gate was set, so nothing has been shown."
    named: dict[Outcome, list[str]] = {"pass": [], "fail": [], "inconclusive": []}
    for gate in blocking:
        named[gate.outcome].append(_title(gate))
    if named["fail"]:
        return "reject", f"{_of(named['fail'], blocking)} failed: {'; '.join(named['fail'])}."
    if named["inconclusive"]:
        return "inconclusive", f"{_of(named['inconclusive'], blocking)} undecided: {'; '.join(named['inconclusive'])}."
    if spent:
        return "inconclusive", "This test split is spent: no look may promote any more; judge on a fresh one."
    return "promote", f"{_of(named['pass'], blocking)} passed."


def choose(decisions: Sequence[Decision]) -> int:
    """Whom the verdict speaks of, of several candidates in order of preference.

    The first that is promoted, else the first that is undecided, else the first. Raises ValueError for none.
    """
    if not decisions:
        raise ValueError("no candidate was judged")
    return next((decisions.index(wanted) for wanted in ("promote", "inconclusive") if wanted in decisions), 0)


def _title(gate: GateRecord) -> str:
    if gate.rule == "must_not_break":
        return f"must not break {gate.suite}"
    metric = "" if gate.metric == "primary" else f" {gate.metric}"
    cut = f" [{gate.slice}]" if gate.slice else ""
    end = f"vs {gate.against}" if gate.against else f"{gate.rule.replace('_', ' ')} {gate.limit:g}"
    return f"{gate.suite}{metric}{cut} {end}"


def _of(some: Sequence[str], blocking: Sequence[GateRecord]) -> str:
    return f"{len(some)} of {len(blocking)} blocking gates"
