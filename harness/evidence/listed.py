"""Every experiment of a store in one row: what `harness ls` and the leaderboard list, without a dataframe library."""

from __future__ import annotations

from typing import Any

from harness.errors import HarnessError
from harness.evidence.gathered import Evidence, gather, judged
from harness.evidence.wording import answers, gain_over_bar, headline
from harness.records import LookRecord
from harness.store import Store

SUMMARY_COLUMNS: dict[str, str] = {
    "experiment": "Experiment id: its folder in the store.",
    "name": "Experiment name.",
    "kind": "experiment, or gate for a deploy gate.",
    "created": "When it was begun, UTC.",
    "decision": "promote, reject, inconclusive, prompt_suffices, or unfinished.",
    "headline": "The verdict in one sentence with its number.",
    "reason": "The verdict's own words.",
    "hypothesis": "The claim as the user wrote it.",
    "warnings": "What a reader should know before acting on it.",
    "missing": "Stages without a record.",
    "judged": "The candidate that the verdict speaks of.",
    "claim": "artifact: these very weights; recipe: training this way. Missing where nothing was judged.",
    "looks": "Which look at the task's test split the verdict is, of how many declared.",
    "basis": "What the gain's interval rests on: confidence, n, method.",
    "beat": "Did fine-tuning beat the best prompt? Of a gate: is the candidate better than the reference?",
    "margin": "By how much, on the task.",
    "certainty": "The interval of that difference.",
    "broke": "Suites on which a gate found a loss.",
}
"""Every column of `summarised`, with what it means."""


def summaries(store: Store) -> list[dict[str, Any]]:
    """One row per experiment that can be read, newest first; see `SUMMARY_COLUMNS`."""
    return [summarised(evidence) for evidence in readable(store)[0]]


def summarised(evidence: Evidence) -> dict[str, Any]:
    """One experiment's row."""
    verdict, gain, finalist = evidence.verdict, gain_over_bar(evidence), evidence.finalist
    return {
        "experiment": evidence.id,
        "name": evidence.name,
        "kind": "gate" if evidence.is_gate else "experiment",
        "created": evidence.provenance.created if evidence.provenance else None,
        "decision": evidence.decision,
        "headline": headline(evidence),
        "reason": verdict.reason if verdict else None,
        "hypothesis": evidence.hypothesis,
        "warnings": list(verdict.warnings) if verdict else [],
        "missing": list(evidence.missing),
        "judged": judged(evidence),
        "claim": verdict.claim if verdict and verdict.gates else None,
        "looks": look_number(finalist.look if finalist else None),
        "basis": gain.basis if gain else None,
        **vars(answers(evidence)),
    }


def readable(store: Store) -> tuple[list[Evidence], dict[str, str]]:
    """Experiments whose records can be read, and why the others cannot."""
    found, faults = [], {}
    for experiment in store.experiments():
        try:
            found.append(gather(experiment))
        except HarnessError as fault:
            faults[experiment.id] = str(fault)
    return found, faults


def look_number(look: LookRecord | None) -> str | None:
    """Which look at the test split it was, in words."""
    if look is None:
        return None
    return f"{look.number}" if look.spending == "open_ended" else f"{look.number} of {look.budget}"
