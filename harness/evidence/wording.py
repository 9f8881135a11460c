"""How a verdict is worded: in one sentence, in four answers, and what it stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.evidence.gathered import Evidence, asked_otherwise, comparison, contestants, is_plain, judged
from harness.evidence.gating import Bounds, compared, decided_by, gate_name, topic
from harness.evidence.numbers import DASH, basis, percent, span
from harness.evidence.proven import proven
from harness.records import Family, GateRecord, LookRecord

DECISIONS: Mapping[str, str] = {
    "promote": "Promote",
    "reject": "Reject",
    "inconclusive": "Inconclusive",
    "prompt_suffices": "Prompt suffices",
    "unfinished": "Unfinished",
}
"""How each decision is spelled for people; `unfinished` while there is no verdict."""

NAMED = 3
"""How many gates that did not pass a sentence names."""


LEDGERS: Mapping[str, str] = {"task": "at this test split", "enough": "at whether a prompt is enough"}
"""What a look of a kind is at, in words; all others are those of deploy gates."""


@dataclass(frozen=True)
class Answers:
    """The four questions of a reader in a hurry, each answered in a few words."""

    beat: str
    margin: str
    certainty: str
    broke: str


def gain_over_bar(evidence: Evidence) -> Bounds | None:
    """How much better the judged candidate is than the best prompt on the task; None when not compared.

    With the ends that decided the gate on it, where there is one.
    """
    gate = next((gate for gate in evidence.deciding_gates if _is_plain(evidence, gate)), None)
    if gate is not None:
        return decided_by(gate)
    name = judged(evidence)
    found = comparison(evidence, name, evidence.bar) if name != evidence.bar else None
    return compared(found) if found and found.difference.value is not None else None


def answers(evidence: Evidence) -> Answers:
    """Did fine-tuning beat prompting, by how much, how sure, and what did it break?"""
    gain = gain_over_bar(evidence)
    if gain is None:
        nothing = "Nothing was trained" if evidence.decision == "prompt_suffices" else "Not measured"
        return Answers(nothing, DASH, DASH, _broke(evidence))
    beat = {"beats": "Yes", "loses to": "No"}.get(_verb(gain), "Not shown")
    value, low, high = gain.read
    return Answers(beat, gain.unit.write(value, sign=True), gain.unit.bracket(low, high, sign=True), _broke(evidence))


def headline(evidence: Evidence) -> str:
    """The verdict in one sentence: who, how much, by which claim, at which look."""
    label, verdict, gain = DECISIONS[evidence.decision], evidence.verdict, gain_over_bar(evidence)
    if verdict is None:
        return f"{label}: there is no {', no '.join(evidence.missing)} yet."
    if evidence.decision == "prompt_suffices":
        bar = next((c.score for c in contestants(evidence) if c.name == evidence.bar), None)
        return f"{label}: the best prompt scores {span(bar)} on the task ({basis(bar)}); fine-tuning is not worth it."
    look = f"; {look_words(evidence.finalist.look)}" if evidence.finalist else ""
    if gain is None:
        return f"{label}: {subject(evidence)}: {verdict.reason.rstrip('.')}{look}."
    told = f"{subject(evidence)} {_verb(gain)} {evidence.bar_words} on the task: {gain.shown} ({gain.basis})"
    return f"{label}: {told}; {_gates_passed(evidence)}{look}."


def subject(evidence: Evidence) -> str:
    """What the claim is about: `this adapter (tuned-seed0)`, or `training this way (3 seeds)`."""
    verdict, name = evidence.verdict, judged(evidence)
    found = next((c for c in contestants(evidence) if c.name == name), None)
    other = found is not None and asked_otherwise(evidence, found.candidate)
    prompt = f" under the prompt {found.candidate.prompt.name}" if found is not None and other else ""
    if verdict is not None and verdict.claim == "recipe":
        return f"training this way{prompt} ({_seeds(evidence)} seeds)"
    if evidence.is_gate:
        return "{} in place of {}".format(*evidence.sides)
    said = verdict.candidate if verdict else name
    return f"this adapter{prompt} ({said})" if found is not None and found.seed is not None else said


def look_words(look: LookRecord) -> str:
    """`look 2 of 5 at this test split`, and what to do once the split is spent."""
    if look.spending == "open_ended":
        at = LEDGERS.get(look.suite)
        return f"look {look.number} {at}" if at else f"candidate {look.number} for this reference's place on this suite"
    if look.level > 0:
        return f"look {look.number} of {look.budget} at this test split"
    return (
        f"look {look.number} at a test split that is spent ({look.budget} looks were declared): "
        "nothing can pass on it any more, so judge on a fresh test split"
    )


def standing(evidence: Evidence) -> list[tuple[str, str]]:
    """What the verdict stands on, as (what, value): claim, look, family of the correction, early stops."""
    verdict, finalist = evidence.verdict, evidence.finalist
    if verdict is None:
        return []
    if evidence.decision == "prompt_suffices":
        asked = "as to whether a prompt is enough, which spends nothing of what promotions may spend"
        return [] if finalist is None else [("test split", f"{_spending(finalist.look, 'stop')}; {asked}")]
    made = [("claim", _claim(evidence))]
    judged_ones = [one.name for one in verdict.finalists]
    if len(judged_ones) > 1:
        made.append(("judged", f"{', '.join(judged_ones)}: each a look of its own, who did better on dev first"))
    if finalist is not None:
        made.append(("looks" if evidence.is_gate else "test split", _spending(finalist.look)))
    if verdict.family is not None:
        made.append(("family", family_words(verdict.family)))
    return made + [("stopped early", told) for told in early_stops(evidence)] + proven(evidence)


def family_words(family: Family) -> str:
    """`Holm over 3 gates at 2.5 %: ...`: the gates that share one chance of a wrong FAIL."""
    gates = "1 gate" if len(family.members) == 1 else f"{len(family.members)} gates"
    named = f"{family.correction.capitalize()} over {gates} at {percent(family.alpha)}"
    return f"{named} for any wrong FAIL: {'; '.join(family.members)}"


def early_stops(evidence: Evidence) -> list[str]:
    """`task: decided after 312 of 1,000 items (betting): tuned-seed0`, for test runs that ended early."""
    ended: dict[str, list[str]] = {}
    for run in evidence.runs:
        if run.stopped and run.split == "test":
            stop = run.stopped
            items = f"{stop.asked:,} of {stop.of:,}" if stop.asked < stop.of else f"all {stop.of:,}"
            told = f"{run.suite}: {'decided after' if stop.asked < stop.of else 'asked'} {items} items ({stop.method})"
            ended.setdefault(told, []).append(run.candidate.name)
    return [f"{told}: {', '.join(names)}" for told, names in ended.items()]


def _verb(gain: Bounds) -> str:
    if gain.low is not None and gain.low > 0:
        return "beats"
    return "loses to" if gain.high is not None and gain.high < 0 else "is not shown to beat"


def _gates_passed(evidence: Evidence) -> str:
    blocking = [gate for gate in evidence.deciding_gates if gate.blocking]
    missed = [gate_name(gate) for gate in blocking if gate.outcome != "pass"]
    if not missed and evidence.verdict is not None and evidence.decision in ("reject", "inconclusive"):
        reason = evidence.verdict.reason.split(". ")[0].rstrip(".")  # what stood against it was no gate
        return reason[:1].lower() + reason[1:]
    if not missed:
        return "every blocking gate passed" if blocking else "no blocking gate was set"
    return f"not passed: {_some(missed)}"


def _is_plain(evidence: Evidence, gate: GateRecord) -> bool:
    """Whether a gate is on the gain over the best prompt itself: the whole task's own score, no slice, no factor."""
    found = gate.comparison
    return (
        found is not None
        and gate.slice is None
        and gate.against == evidence.bar
        and is_plain(evidence, found, "task")
        and found.difference.value is not None
    )


def _claim(evidence: Evidence) -> str:
    if evidence.verdict and evidence.verdict.claim == "recipe":
        return f"recipe: about training this way, over {_seeds(evidence)} seeds and the seeds yet to come"
    return "artifact: about these very weights; another training may come out otherwise"


def _seeds(evidence: Evidence) -> int:
    trained = [gate.comparison.seeds for gate in evidence.deciding_gates if gate.comparison]
    return max(trained, default=len(evidence.training.seeds) if evidence.training else 1)


def _spending(look: LookRecord, what: str = "promotion") -> str:
    if look.level == 0:
        return look_words(look)
    if look.spending == "open_ended":
        share = f"of the {percent(look.alpha)} chance of a wrong {what}, number k spends 1 / (k (k + 1))"
        return f"{look_words(look)}; {share}, this one {percent(look.level)}"
    how = "spends half of what is left" if look.spending == "halving" else "spends an even part"
    return (
        f"look {look.number} of {look.budget}; each {how} of the {percent(look.alpha)} chance of a wrong {what}, "
        f"this one {percent(look.level)}"
    )


def _broke(evidence: Evidence) -> str:
    guards = [gate for gate in evidence.deciding_gates if _is_guard(gate)]
    if evidence.decision == "prompt_suffices":
        return "Not measured"
    if not guards:
        return "Not measured"
    lost, unclear = (
        list(dict.fromkeys(topic(gate) for gate in guards if gate.outcome == outcome))
        for outcome in ("fail", "inconclusive")
    )
    if lost:
        return _some(lost)
    return f"Unclear: {_some(unclear)}" if unclear else "Nothing found"


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _is_guard(gate: GateRecord) -> bool:
    """A gate against a loss: all but those that demand a gain on the task."""
    return gate.suite != "task" or gate.rule != "min_delta" or (gate.min_delta or 0.0) < 0
