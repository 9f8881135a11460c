"""Which of two candidates' answers a judge prefers: asked pair by pair, both ways round, and kept in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from harness import evaluate, metrics, stats
from harness.compare import Change, Samples, Scored
from harness.errors import Problem, UsageError
from harness.metrics import JudgeSpec, Preference, Unscored, tools
from harness.progress import Progress
from harness.records import Interval, SampleRecord, digest
from harness.reviewing import JOURNAL, Preferred, cohen
from harness.store import ExperimentStore

TOGETHER: Final = 8
"""Pairs in flight."""
LABELS: Final = get_args(Preference)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the judge agrees with people over the pairs that both judged."""

    share: Interval
    """Share of equal labels."""
    kappa: Interval
    """Cohen's kappa: 1 is full agreement, 0 what chance alone would give; no value where chance agrees fully."""


def judge_pairs(
    folder: ExperimentStore, candidate: Scored, reference: Scored, near: Path | None, progress: Progress
) -> list[Preferred]:
    """Ask the judge that the candidate's experiment names for every pair of answers; what it said before is kept.

    Raises UsageError where no judge is named or the runs share no sample, EngineError when its server is gone.
    """
    given = folder.spec().get("judge")
    if given is None:
        hint = "Name one in the spec: judge: {url: ..., model: ...}"
        raise UsageError(Problem(f"{folder.id}: judge", "no judge is named", next=hint))
    pairs = list(_joined(candidate[1], reference[1]))
    if not pairs:
        raise UsageError(Problem(candidate[0].id, f"shares no sample with {reference[0].id}"))
    known = {one.key: one for one in folder.journal_lines(JOURNAL, Preferred) if one.outcome != "unscored"}
    with (
        folder.lock(),
        evaluate.aided(False, JudgeSpec.model_validate(given), progress.note, near),
        folder.journal(JOURNAL) as journal,
        progress.bar("judging pairs", len(pairs)) as bar,
        ThreadPoolExecutor(TOGETHER) as pool,
    ):
        judge, made = tools.judge(), []

        def judged(pair: tuple[SampleRecord, SampleRecord]) -> Preferred:
            key, ours = _key(judge, *pair), pair[0]
            if (before := known.get(key)) is None:
                return _asked(judge, key, candidate[0].id, reference[0].id, *pair)
            here = {"candidate": candidate[0].id, "reference": reference[0].id}
            return before.model_copy(update={**here, "task": ours.task, "id": ours.id, "repeat": ours.repeat})

        for one in pool.map(judged, pairs):
            if one.key not in known:
                journal.append([one])
            made.append(one)
            bar.advance()
    return made


def read_labels(file: Path) -> dict[tuple[str, int], Preference]:
    """People's verdicts by item id and repeat: a JSONL file of `id`, `outcome` (won, tied, lost) and maybe `repeat`.

    Raises UsageError for what cannot be read.
    """
    found: dict[tuple[str, int], Preference] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            at, outcome = (str(told["id"]), int(told.get("repeat", 0))), told["outcome"]
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            allowed = '{"id": "...", "outcome": "won"}'
            raise UsageError(Problem(f"{file}:{number}", f"cannot be read: {fault}", allowed)) from fault
        if outcome not in LABELS or at in found:
            what = f"{at[0]!r} stands twice" if at in found else f"outcome is {outcome!r}"
            raise UsageError(Problem(f"{file}:{number}", what, f"One of {', '.join(LABELS)} an item"))
        found[at] = outcome
    return found


def agreement(judged: Sequence[Preferred], labels: dict[tuple[str, int], Preference]) -> Agreement:
    """The judge held against people. Raises UsageError where no pair has both verdicts."""
    both = [(one.outcome, labels[one.id, one.repeat]) for one in judged if (one.id, one.repeat) in labels]
    both = [(said, label) for said, label in both if said != "unscored"]
    if not both:
        raise UsageError(Problem("labels", "no judged pair has one", "Ids must be those of the items"))
    kappa = cohen([said for said, _ in both], [label for _, label in both])
    share = stats.mean_interval([float(said == label) for said, label in both])
    return Agreement(share, kappa)


def _joined(ours: Samples, theirs: Samples) -> Iterator[tuple[SampleRecord, SampleRecord]]:
    other = {(sample.task, sample.id, sample.repeat): sample for sample in theirs}
    for sample in ours:
        if (twin := other.get((sample.task, sample.id, sample.repeat))) is not None:
            yield sample, twin


def _key(judge: tools.Judge, ours: SampleRecord, theirs: SampleRecord) -> str:
    return digest([judge.name, judge.rubric, ours.question, ours.answer, theirs.answer])


def _asked(
    judge: tools.Judge, key: str, candidate: str, reference: str, ours: SampleRecord, theirs: SampleRecord
) -> Preferred:
    outcome: Change = "unscored"
    reason, calls = None, 0
    if ours.answer is None or theirs.answer is None:
        reason = f"{'the candidate' if ours.answer is None else 'the reference'} has no answer"
    else:
        calls = 0 if ours.answer.strip() == theirs.answer.strip() else 2
        try:
            outcome = metrics.prefer(judge, ours.question, ours.answer, theirs.answer)
        except Unscored as why:
            reason = str(why)
    return Preferred(
        key=key, judge=judge.name, candidate=candidate, reference=reference, task=ours.task, id=ours.id,
        repeat=ours.repeat, outcome=outcome, reason=reason, calls=calls,
    )  # fmt: skip
