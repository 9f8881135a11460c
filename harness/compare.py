"""Comparison: two runs joined sample by sample, or refused because they were made under unlike conditions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import NotComparableError, Problem, UsageError, did_you_mean
from harness.records import ComparisonRecord, Conditions, Record, RunRecord, SampleRecord
from harness.stats import paired_interval

ALL = "*"
PRIMARY = "primary"

Samples = Sequence[SampleRecord]
Scored = tuple[RunRecord, Samples]
ItemKey = tuple[str, str]
SampleKey = tuple[str, str, int]


class Flip(Record):
    """One sample that went from wrong to right or back, with both answers."""

    task: str
    """Task name."""
    id: str
    """Item id."""
    repeat: int
    """Which repetition of the item (0-based)."""
    direction: Literal["won", "lost"]
    """`won`: wrong with the reference, right with the candidate; `lost`: the other way."""
    question: str
    """The item's own text."""
    target: str
    """The gold answer."""
    candidate_answer: str | None
    """What the candidate said."""
    reference_answer: str | None
    """What the reference said."""
    candidate_score: float
    """Its score."""
    reference_score: float
    """Its score."""


def compare(
    candidate: RunRecord,
    candidate_samples: Samples,
    reference: RunRecord,
    reference_samples: Samples,
    *,
    task: str = ALL,
    metric: str = PRIMARY,
    confidence: float = 0.95,
) -> ComparisonRecord:
    """Mean paired difference of two runs, candidate minus reference, in the metric's own unit.

    task: one task, or `*` for all items of the suite, each item counting once.
    metric: a name, or `primary` for each task's own first metric.

    Samples are joined on (task, id, repeat). Repeats of an item are averaged before anything
    else. Items that share a cluster label stay together, also across tasks: joining
    clusters costs power, splitting one would make the interval a lie. An item is left out and
    counted in `unscored` when any of its samples, on either side, has no finite score.

    Raises NotComparableError (naming each field and both values) for another suite, split,
    fingerprint, choice of primary metrics, any of the conditions or the decoding (see
    `_decoding_problems`), for other texts under one id and for samples missing or given twice;
    UsageError for an unknown task or metric.
    """
    return compare_seeds(
        [(candidate, candidate_samples)], reference, reference_samples, task=task, metric=metric, confidence=confidence
    )


def compare_seeds(
    candidates: Sequence[Scored],
    reference: RunRecord,
    reference_samples: Samples,
    *,
    task: str = ALL,
    metric: str = PRIMARY,
    confidence: float = 0.95,
) -> ComparisonRecord:
    """The average of several training seeds against one reference; otherwise as `compare`.

    Each item's score is the mean over the seeds; the interval is over items only. It speaks
    of these very trainings (claim: artifact, averaged), not of the next seed: training seeds
    are not a random factor here, so spread between seeds does not widen it. An item is
    unscored when any seed has no score for it. Raises as `compare`, for each seed.
    """
    if not candidates:
        raise UsageError("compare: no candidate runs were given. Pass at least one.")
    problems = [p for run, samples in candidates for p in _problems(run, samples, reference, reference_samples)]
    if problems:
        raise NotComparableError(problems)
    metrics = _metrics([*candidates, (reference, reference_samples)], task, metric)
    left = [_item_scores(samples, metrics) for _, samples in candidates]
    right = _item_scores(reference_samples, metrics)
    keys = sorted(right)
    scored = [k for k in keys if right[k] is not None and all(side[k] is not None for side in left)]
    a = [math.fsum(side[k] or 0.0 for side in left) / len(left) for k in scored]
    b = [right[k] or 0.0 for k in scored]
    cluster_of = {(s.task, s.id): s.cluster for s in reference_samples}
    clusters = [cluster_of[k] if cluster_of[k] is not None else k for k in scored]
    return ComparisonRecord(
        suite=reference.suite,
        task=task,
        metric=metric,
        candidate="+".join(run.id for run, _ in candidates),
        reference=reference.id,
        candidate_mean=_mean(a),
        reference_mean=_mean(b),
        difference=paired_interval(a, b, clusters, confidence),
        won=sum(x > y for x, y in zip(a, b, strict=True)),
        lost=sum(x < y for x, y in zip(a, b, strict=True)),
        tied=sum(x == y for x, y in zip(a, b, strict=True)),
        unscored=len(keys) - len(scored),
    )


def flips(candidate_samples: Samples, reference_samples: Samples, metric_by_task: Mapping[str, str]) -> list[Flip]:
    """Samples that changed between right and wrong: the lost ones first, then by task, id and repeat.

    metric_by_task: task name to metric, e.g. `RunRecord.primary`; other tasks are left out.
    Right is a score of at least 0.5 on the scale [0, 1]; samples that either side lacks, has
    not scored, or has scored outside that scale cannot flip.
    """
    other = {_key(s): s for s in reference_samples}
    found = []
    for new in candidate_samples:
        old = other.get(_key(new))
        if old is None or new.task not in metric_by_task:
            continue
        x, y = _score(new, metric_by_task[new.task]), _score(old, metric_by_task[new.task])
        if x is None or y is None or not (0 <= x <= 1 and 0 <= y <= 1) or (x >= 0.5) == (y >= 0.5):
            continue
        found.append(
            Flip(
                task=new.task,
                id=new.id,
                repeat=new.repeat,
                direction="won" if x > y else "lost",
                question=new.question,
                target=new.target,
                candidate_answer=new.answer,
                reference_answer=old.answer,
                candidate_score=x,
                reference_score=y,
            )
        )
    return sorted(found, key=lambda f: (f.direction, f.task, f.id, f.repeat))


# ------------------------------------------------------------------ may they be compared


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two run ids, for messages."""

    candidate: str
    reference: str

    def differs(self, field: str, got: object, wanted: object, next: str) -> Problem:
        return Problem(
            f"{self.candidate} against {self.reference}",
            f"{field} differs: {got!r} against {wanted!r}",
            next=next,
        )


def _problems(run: RunRecord, samples: Samples, reference: RunRecord, reference_samples: Samples) -> list[Problem]:
    """All reasons why two runs must not be compared; those that follow from an earlier one are not told."""
    pair = _Pair(run.id, reference.id)
    again = "Evaluate both on the same suite, split and data."
    found = [
        pair.differs(field, getattr(run, field), getattr(reference, field), again)
        for field in ("suite", "split", "fingerprint", "primary")
        if getattr(run, field) != getattr(reference, field)
    ]
    found += _condition_problems(pair, run.conditions, reference.conditions)
    found += _decoding_problems(pair, run, reference)
    return found or list(_sample_problems(pair, run, samples, reference, reference_samples))


def _condition_problems(pair: _Pair, got: Conditions, wanted: Conditions) -> list[Problem]:
    again = "Evaluate one of them again under the other's conditions."
    fields = [name for name in Conditions.model_fields if name != "flags"]
    found = [
        pair.differs(f"conditions.{name}", getattr(got, name), getattr(wanted, name), again)
        for name in fields
        if getattr(got, name) != getattr(wanted, name)
    ]
    found += [
        pair.differs(f"conditions.flags.{name}", got.flags.get(name), wanted.flags.get(name), again)
        for name in sorted(got.flags.keys() | wanted.flags.keys())
        if got.flags.get(name) != wanted.flags.get(name)
    ]
    return found


def _decoding_problems(pair: _Pair, run: RunRecord, reference: RunRecord) -> list[Problem]:
    """What of the decoding must agree.

    `max_tokens` may differ: it belongs to a candidate's own prompt (one that asks for reasoning
    needs room for it). `temperature` and `stop` must agree, and `top_p` wherever something is
    sampled: a difference there could be taken for a better model. `seed` may differ: it draws
    other answers from the same distribution.
    """
    again = "Give both candidates the same decoding; only max_tokens and seed may differ."
    got, wanted = run.candidate.decoding, reference.candidate.decoding
    fields = ["temperature", "stop"] + (["top_p"] if got.temperature > 0 or wanted.temperature > 0 else [])
    return [
        pair.differs(f"candidate.decoding.{name}", getattr(got, name), getattr(wanted, name), again)
        for name in fields
        if getattr(got, name) != getattr(wanted, name)
    ]


def _sample_problems(
    pair: _Pair, run: RunRecord, samples: Samples, reference: RunRecord, reference_samples: Samples
) -> Iterator[Problem]:
    """Runs that are incomplete, hold a sample twice, or asked different things under one id."""
    left, right = {_key(s): s for s in samples}, {_key(s): s for s in reference_samples}
    for record, given, keyed in ((run, samples, left), (reference, reference_samples, right)):
        items = len({(task, id) for task, id, _ in keyed})
        if len(given) != len(keyed):
            yield Problem(record.id, f"{len(given)} samples hold only {len(keyed)} different (task, id, repeat)")
        elif record.n not in (items, len(keyed)):
            yield Problem(
                record.id, f"incomplete: n is {record.n} but samples of {items} items were found", next="Run it again."
            )
    for name, missing in ((run.id, right.keys() - left.keys()), (reference.id, left.keys() - right.keys())):
        if missing:
            yield Problem(name, f"{len(missing)} samples are missing, the first is {_spell(min(missing))}")
    for key in sorted(left.keys() & right.keys()):
        for field in ("item_digest", "cluster"):
            got, wanted = getattr(left[key], field), getattr(right[key], field)
            if got != wanted:
                yield pair.differs(f"{_spell(key)}.{field}", got, wanted, "One id must mean one item.")
                return


# ------------------------------------------------------------------------------- scores


def _metrics(sides: Sequence[Scored], task: str, metric: str) -> dict[str, str]:
    """Task name to the metric to compare on. Raises UsageError for names that nobody knows."""
    run = sides[-1][0]
    known: dict[str, set[str]] = {name: {first} for name, first in run.primary.items()}
    for _, samples in sides:
        for sample in samples:
            known.setdefault(sample.task, set()).update(sample.scores)
    if task != ALL and task not in known:
        hint = did_you_mean(task, [ALL, *known])
        raise UsageError(Problem(f"suite {run.suite}", f"unknown task {task!r}", hint))
    chosen = sorted(known) if task == ALL else [task]
    wanted = {name: run.primary.get(name, PRIMARY) if metric == PRIMARY else metric for name in chosen}
    problems = [
        Problem(f"suite {run.suite}: task {name}", f"unknown metric {wanted[name]!r}",
                did_you_mean(wanted[name], [PRIMARY, *known[name]]))
        for name in chosen
        if wanted[name] not in known[name]
    ]  # fmt: skip
    if problems:
        raise UsageError(problems)
    return wanted


def _item_scores(samples: Samples, metrics: Mapping[str, str]) -> dict[ItemKey, float | None]:
    """Mean score of each item over its repeats; None as soon as one repeat has no score."""
    by_item: dict[ItemKey, list[float | None]] = {}
    for sample in samples:
        if sample.task in metrics:
            by_item.setdefault((sample.task, sample.id), []).append(_score(sample, metrics[sample.task]))
    return {
        key: None if None in scores else math.fsum(s for s in scores if s is not None) / len(scores)
        for key, scores in by_item.items()
    }


def _score(sample: SampleRecord, metric: str) -> float | None:
    """The score, or None when there is none or it is not finite."""
    score = sample.scores.get(metric)
    return score if score is not None and math.isfinite(score) else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _key(sample: SampleRecord) -> SampleKey:
    return sample.task, sample.id, sample.repeat


def _spell(key: SampleKey) -> str:
    return f"{key[0]}/{key[1]}" + (f" (repeat {key[2]})" if key[2] else "")
