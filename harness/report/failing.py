"""The samples that speak against a gate: named, with what was expected and what was answered."""

from __future__ import annotations

from dataclasses import dataclass

from harness import evidence as ev
from harness.records import GateRecord, SampleRecord
from harness.report.flipped import cut_of
from harness.report.inert import line
from harness.store import ExperimentStore

SHOWN = 120
"""Characters of a question, gold answer or answer that are shown."""


@dataclass(frozen=True, slots=True)
class Failing:
    """One sample that speaks against a gate; its texts are inert lines, shortened."""

    word: str
    """`lost`, `below`, `broken` or `unscored`."""
    task: str
    id: str
    of: str = ""
    """Which candidate, where a gate judges several seeds."""
    error: str = ""
    question: str = ""
    expected: str = ""
    got: str = ""
    before: str | None = None
    """The reference's answer, where there is one."""

    @property
    def title(self) -> str:
        """`lost: TASK / ID`."""
        if self.word == "broken":
            return f"broken: {self.id}"
        who, why = f" ({self.of})" if self.of else "", f": {self.error}" if self.error else ""
        return f"{self.word}{who}: {self.task} / {self.id}{why}"

    @property
    def told(self) -> str:
        """`expected ..., got ...`; empty where the texts are not known."""
        return f"expected {self.expected!r}, got {self.got!r}" if self.expected else ""


def failing(experiment: ExperimentStore, evidence: ev.Evidence, gate: GateRecord) -> list[Failing]:
    """The samples that speak against a gate; none for a gate on a measure like latency.

    Against a reference, those that the candidate lost to it, of the worst slice where that decides; else those whose
    score is below the limit, and items that had to stay right. With several seeds, each seed's are named. Samples
    without a score follow, with the reason.
    """
    if gate.rule == "must_not_break":
        items = ev.broken_items(experiment, gate, evidence.runs_of(gate.candidate))
        return [_broken(one) for one in items]
    runs = [run for run in evidence.runs if run.split == "test" and run.suite == gate.suite]
    names = ev.who(gate.comparison.candidate) if gate.comparison else sorted(evidence.members(gate.candidate))
    against = None if gate.comparison is None else ev.who(gate.comparison.reference)[0]
    told: list[Failing] = []
    for name in names:
        pair = [run for run in runs if run.candidate.name in (name, against)]
        for row in ev.join(experiment, pair, cut_of(gate)):
            sample, other = row.answers.get(name), row.answers.get(against or "")
            if sample is None or gate.task not in ("*", row.task):
                continue
            if (word := _against(gate, row.metric, sample, other)) is not None:
                told.append(_told(word, name if len(names) > 1 else "", row.task, sample, other))
    return sorted(told, key=lambda one: one.word == "unscored")


def _told(word: str, of: str, task: str, sample: SampleRecord, other: SampleRecord | None) -> Failing:
    return Failing(
        word=word,
        task=task,
        id=sample.id,
        of=of,
        error=sample.error or "",
        question=short(sample.question),
        expected=short(sample.target),
        got=short(sample.answer),
        before=None if other is None else short(other.answer),
    )


def _broken(one: ev.Broken) -> Failing:
    return Failing("broken", "", one.id, "", "", short(one.question), short(one.target), short(one.answer))


def short(text: str | None) -> str:
    """One inert line of what may be long."""
    if text is None:
        return "(no answer)"
    told = line(text)
    return told if len(told) <= SHOWN else told[: SHOWN - 1] + "…"


def _against(gate: GateRecord, primary: str, sample: SampleRecord, other: SampleRecord | None) -> str | None:
    """What a sample did to the gate: `lost`, `below`, `unscored`, or nothing."""
    metric = primary if gate.metric == "primary" else gate.metric
    if metric not in sample.scores:
        return None
    score, before = sample.scores[metric], other.scores.get(metric) if other else None
    if score is None:
        return "unscored"
    if gate.rule == "min_delta":
        return "lost" if before is not None and score < before else None
    return "below" if gate.rule == "at_least" and gate.limit is not None and score < gate.limit else None
