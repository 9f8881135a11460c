"""An experiment on the leaderboard: the five questions of a reader in a hurry, and what it is found and sorted by."""

from __future__ import annotations

from typing import Any

from harness import evidence as ev
from harness.evidence import RAW, Contestant, Evidence
from harness.leaderboard.costs import cost_told, request_told
from harness.records import GateRecord

BOARD_COLUMNS: dict[str, str] = {
    **ev.SUMMARY_COLUMNS,
    "model": "The base model, as the spec names it.",
    "beat_told": "Whose scores are compared.",
    "margin_told": "What the experiment demanded of the gain.",
    "certainty_told": "What the interval rests on, how far the training seeds lie apart, which look it was.",
    "broke_told": "What the gates against a loss found.",
    "cost": "Time of the whole experiment, or of all trainings, with its price where one was given.",
    "cost_told": "Of it the training; a request beside the best prompt: tokens, median seconds, price, break-even.",
    "gain": "The gain over the best prompt as a number, in the unit of the metric.",
    "score": "Task score of the judged candidate.",
    "tokens": "Its tokens per request, prompt and answer.",
    "training_s": "Seconds of all trainings.",
}
"""Every column of the leaderboard's experiments, with what it means."""


def answered(evidence: Evidence) -> dict[str, Any]:
    """One experiment's row: that of `harness ls`, and what the leaderboard tells beside it."""
    everyone = {one.name: one for one in ev.contestants(evidence)}
    judged, bar = everyone.get(ev.judged(evidence)), everyone.get(evidence.bar)
    gain, training, (whole, trained) = ev.gain_over_bar(evidence), evidence.training, cost_told(evidence)
    return ev.summarised(evidence) | {
        "model": evidence.provenance.model.name if evidence.provenance else str(evidence.spec.get("model") or ""),
        "beat_told": _scores(evidence, judged, bar, everyone.get(RAW)),
        "margin_told": _demanded(evidence),
        "certainty_told": "; ".join(filter(None, (gain.basis if gain else "", _seeds(evidence), _look(evidence)))),
        "broke_told": _guarded(evidence),
        "cost": whole,
        "cost_told": "; ".join(filter(None, (trained, request_told(evidence, judged, bar)))),
        "gain": gain.read[0] if gain else None,
        "score": judged.score.value if judged and judged.score else None,
        "tokens": _tokens(judged),
        "training_s": sum(seed.seconds for seed in training.seeds) if training else None,
    }


def _scores(evidence: Evidence, judged: Contestant | None, bar: Contestant | None, raw: Contestant | None) -> str:
    """`0.892 against 0.442 of the best prompt and 0.050 of the raw base`; of several seeds as one, their mean."""
    asked = [gate.comparison for gate in evidence.deciding_gates if _on_the_task(gate, evidence.bar)]
    joined = next((one for one in asked if one is not None), None)
    if joined is not None and joined.seeds > 1:
        mine = f"mean {ev.number(joined.candidate_mean)}"
    else:
        mine = ev.number(judged.score.value if judged and judged.score else None)
    others = [
        f"{ev.number(one.score.value if one.score else None)} of {what}"
        for one, what in ((bar, evidence.bar_words), (raw, "the raw base"))
        if one is not None and one is not judged
    ]
    return f"{mine} against {' and '.join(others)}" if others else mine


def _demanded(evidence: Evidence) -> str:
    """What the first gate on the gain asked of it: `demanded: gain of at least 5 points over best_prompt`."""
    asked = [ev.demand(gate) for gate in evidence.deciding_gates if _on_the_task(gate, evidence.bar)]
    return f"demanded: {asked[0]}" if asked else ""


def _on_the_task(gate: GateRecord, bar: str) -> bool:
    return (gate.suite, gate.against, gate.slice) == ("task", bar, None)


def _seeds(evidence: Evidence) -> str:
    """`3 seeds from 0.870 to 0.930`, for more than one training."""
    if evidence.is_gate:  # two sides, not two trainings of one recipe
        return ""
    tuned = [one for one in ev.contestants(evidence) if one.seed is not None]
    own = [one for one in tuned if one.candidate.prompt.name == tuned[0].candidate.prompt.name]
    scores = [one.score.value for one in own if one.score and one.score.value is not None]
    if len(scores) < 2:
        return ""
    return f"{len(scores)} seeds from {ev.number(min(scores))} to {ev.number(max(scores))}"


def _look(evidence: Evidence) -> str:
    number = ev.look_number(evidence.finalist.look if evidence.finalist else None)
    return f"look {number}" if number else ""


def _guarded(evidence: Evidence) -> str:
    """What the gates against a loss found, the worst first: `regression-core: -1.1 points [-4.9, +3.2]`."""
    guards = [gate for gate in evidence.deciding_gates if _is_guard(gate)]
    ranked = sorted(guards, key=lambda gate: ev.WORST_FIRST.index(gate.outcome))
    told = [f"{ev.place(gate)}: {ev.evidence_shown(gate)}" for gate in ranked[:2]]
    return "; ".join(told) + (f"; and {len(ranked) - 2} more" if len(ranked) > 2 else "")


def _is_guard(gate: GateRecord) -> bool:
    return gate.suite != "task" or gate.rule != "min_delta" or (gate.min_delta or 0.0) < 0


def _tokens(one: Contestant | None) -> float | None:
    return None if one is None or one.tokens_in is None or one.tokens_out is None else one.tokens_in + one.tokens_out


__all__ = ["BOARD_COLUMNS", "answered"]
