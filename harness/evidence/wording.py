"""How numbers, gates and verdicts are worded: the same in the leaderboard and in the reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.evidence.gathered import BAR, Evidence, comparison, contestants, judged
from harness.records import GateRecord, Interval

DECISIONS: Mapping[str, str] = {
    "promote": "Promote",
    "reject": "Reject",
    "inconclusive": "Inconclusive",
    "prompt_suffices": "Prompt suffices",
    "unfinished": "Unfinished",
}
"""How each decision is spelled for people; `unfinished` while there is no verdict."""


@dataclass(frozen=True)
class Answers:
    """The four questions of a reader in a hurry, each answered in a few words."""

    beat: str
    margin: str
    certainty: str
    broke: str


def number(value: float | None, digits: int = 3) -> str:
    """A score, or a dash when it was not measured."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign, or a dash when it was not measured."""
    return "–" if value is None else f"{value:+.{digits}f}"


def span(interval: Interval | None, difference: bool = False) -> str:
    """`0.742 [0.689, 0.789]`, or a dash."""
    if interval is None or interval.value is None:
        return "–"
    spell = signed if difference else number
    return f"{spell(interval.value)} [{spell(interval.low)}, {spell(interval.high)}]"


def basis(interval: Interval | None) -> str:
    """What an interval rests on: `95 %, n = 300, wilson`."""
    return "–" if interval is None else f"{interval.confidence:.0%} interval, n = {interval.n}, {interval.method}"


def gate_name(gate: GateRecord) -> str:
    """`task vs best_prompt`, with the task and the metric where the gate names them."""
    part = "" if gate.task == "*" else f"/{gate.task}"
    metric = "" if gate.metric == "primary" else f" {gate.metric}"
    return f"{gate.suite}{part}{metric} vs {gate.against}"


def bar_difference(evidence: Evidence) -> Interval | None:
    """The judged candidate minus the best prompt on the task; None when they were not compared."""
    name = judged(evidence)
    found = comparison(evidence, name, BAR) if name != BAR else None
    return found.difference if found and found.difference.value is not None else None


def answers(evidence: Evidence) -> Answers:
    """Did fine-tuning beat prompting, by how much, how sure, and what did it break?"""
    gain = bar_difference(evidence)
    if gain is None or gain.low is None or gain.high is None:
        nothing = "Nothing was trained" if evidence.decision == "prompt_suffices" else "Not measured"
        beat, margin, certainty = nothing, "–", "–"
    else:
        beat = "Yes" if gain.low > 0 else "No" if gain.high <= 0 else "Not shown"
        margin = signed(gain.value)
        certainty = f"[{signed(gain.low)}, {signed(gain.high)}]"
    return Answers(beat, margin, certainty, _broke(evidence))


def _broke(evidence: Evidence) -> str:
    guards = [gate for gate in evidence.gates if gate.suite != "task"]
    if not guards:
        return "Not measured"
    lost = [gate.suite for gate in guards if gate.outcome == "fail"]
    open_ = [gate.suite for gate in guards if gate.outcome == "inconclusive"]
    if lost:
        return ", ".join(dict.fromkeys(lost))
    return f"Unclear: {', '.join(dict.fromkeys(open_))}" if open_ else "Nothing found"


def headline(evidence: Evidence) -> str:
    """The verdict in one sentence, with its number."""
    label, verdict, gain = DECISIONS[evidence.decision], evidence.verdict, bar_difference(evidence)
    if verdict is None:
        return f"{label}: there is no {', no '.join(evidence.missing)} yet."
    if evidence.decision == "prompt_suffices":
        bar = next((c.score for c in contestants(evidence) if c.name == BAR), None)
        return f"{label}: the best prompt scores {span(bar)} on the task ({basis(bar)}); fine-tuning is not worth it."
    if gain is None or gain.low is None or gain.high is None:
        return f"{label}: {verdict.reason}"
    verb = "beats" if gain.low > 0 else "loses to" if gain.high < 0 else "is not shown to beat"
    told = f"{verdict.candidate} {verb} the best prompt on the task: {span(gain, True)} ({basis(gain)})"
    open_gates = [gate_name(gate) for gate in verdict.gates if gate.blocking and gate.outcome != "pass"]
    rest = f"; not passed: {', '.join(open_gates)}" if open_gates else "; every blocking gate passed"
    return f"{label}: {told}{rest}."
