"""One look at a deployment's logs: what is new in them, what it says, what the bets say by now."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness import evaluate, metrics, stats
from harness.errors import Problem, UsageError
from harness.monitoring import canary, drift, features
from harness.monitoring.features import Feature, Placed
from harness.monitoring.logs import Read
from harness.monitoring.policy import RetrainSpec, due
from harness.monitoring.reference import Reference
from harness.monitoring.requests import Request
from harness.records import CanaryRecord, Interval, LogCount, MonitorRecord, StreamState, Watched, digest
from harness.store import Monitoring

PERCENTILES: Final = (50, 95, 99)
KINDS: Final[tuple[Watched, ...]] = ("drift", "quality")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a look is asked for."""

    deployment: str
    policy: RetrainSpec
    accept: str | None = None
    """Why this look's requests are the new normal; None: they are not."""
    judge: int = 0
    """Answers that the experiment's judge grades, drawn at random."""
    canary: tuple[str, str] | None = None
    """The new version and the other one."""
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True)
class Look:
    """A look, and what it was made of."""

    record: MonitorRecord
    requests: tuple[Request, ...]
    """The new ones."""
    placed: Placed | None
    scores: dict[str, float]
    """How good answers were, by the request's `where`."""


def look(ledger: Monitoring, read: Read, reference: Reference, wanted: Wanted) -> Look:
    """Look at the logs, go on with the bets of earlier looks, and append the look to the ledger.

    Raises UsageError where the reference is another than before, or the judge that is asked for is not named.
    """
    with ledger.turn():
        earlier = ledger.deployment(wanted.deployment)
        before = earlier[-1] if earlier else None
        if before is not None and before.reference != reference.fingerprint and wanted.accept is None:
            what = f"the reference is another than that of look {before.number}, and bets on it cannot go on"
            hint = "Take another --deployment, or begin anew with --accept REASON"
            raise UsageError(Problem(wanted.deployment, what, next=hint))
        made = _look(before, read, reference, wanted)
        ledger.append(made.record)
    return made


def _look(before: MonitorRecord | None, read: Read, reference: Reference, wanted: Wanted) -> Look:
    new, until, edge = fresh(read.requests, before)
    scores, told = _scored(new, reference, wanted)
    placed = features.place(reference.questions)
    by_judge = [scores[r.where] for r in new if r.where in scores] if told.startswith("judge") else []
    measured = features.of_requests(new, reference, placed, by_judge)
    if told == "labels":
        measured += features.labelled(reference, list(scores.values()))
    number = 1 if before is None else before.number + 1
    streams = _streams(before, measured, wanted, number)
    since_start = {} if before is None or wanted.accept is not None else before.evidence
    evidence = drift.evidence(streams, since_start)
    threshold = float(np.log(2 / wanted.policy.alpha))
    held = () if before is None or wanted.accept is not None else before.alarms
    alarms = tuple(kind for kind in KINDS if kind in held or evidence[kind] >= threshold)
    now = datetime.datetime.now(datetime.UTC)
    times = [request.time for request in new if request.time is not None]
    record = MonitorRecord(
        deployment=wanted.deployment,
        against=reference.experiment,
        reference=reference.fingerprint,
        number=number,
        epoch=(0 if before is None else before.epoch) + (wanted.accept is not None),
        accepted=wanted.accept,
        logs=read.names,
        count=LogCount(
            lines=read.lines, requests=len(read.requests), new=len(new), before=len(read.requests) - len(new),
            broken=read.broken, other=read.other,
        ),
        faults=read.faults,
        since=_iso(min(times)) if times and len(times) == len(new) else None,
        until=until,
        edge=edge,
        per_day=dict(sorted(Counter(_iso(at)[:10] for at in times).items())),
        versions=dict(Counter(request.version for request in new if request.version is not None).most_common()),
        latency=_latency(new),
        errors=_share([request.error is not None for request in new]),
        valid=_share([reference.form.fits(request.answer) for request in new if request.answer is not None]),
        form=reference.form.name,
        quality=stats.mean_interval(list(scores.values())),
        scored_by=told if scores else "",
        tests=drift.tests(measured),
        streams=streams,
        evidence=evidence,
        threshold=threshold,
        alpha=wanted.policy.alpha,
        alarms=alarms,
        causes=_causes(streams, alarms),
        due=due(wanted.policy, alarms, reference.made, now),
        canary=_canary(new, reference, scores, wanted),
        notes=(*reference.notes, *_notes(new, read, measured)),
        created=now.isoformat(timespec="seconds"),
    )  # fmt: skip
    return Look(record, tuple(new), placed, scores)


def fresh(
    requests: Sequence[Request], before: MonitorRecord | None
) -> tuple[list[Request], str | None, tuple[str, ...]]:
    """Requests that no earlier look counted, the time up to which all are counted now, and the digests there.

    Where every request has a time: those after the last look's end. Otherwise: those beyond the ones of the last look,
    so that a file that grows is read on, and one that is given twice counts once.
    """
    timed = all(request.time is not None for request in requests)
    held = Counter(() if before is None else before.edge)
    new = []
    for request in requests:
        if timed and before is not None and before.until is not None:
            at = _iso(request.time or 0.0)
            if at < before.until:
                continue
            if at > before.until:
                new.append(request)
                continue
        if held[request.digest] > 0:
            held[request.digest] -= 1
        else:
            new.append(request)
    if not timed:
        return new, None, tuple(sorted(request.digest for request in requests))
    known = None if before is None else before.until
    until = max([_iso(request.time or 0.0) for request in requests] + ([known] if known else []), default=None)
    edge = {request.digest for request in requests if _iso(request.time or 0.0) == until}
    if before is not None and before.until == until:
        edge |= set(before.edge)
    return new, until, tuple(sorted(edge))


def _scored(requests: Sequence[Request], reference: Reference, wanted: Wanted) -> tuple[dict[str, float], str]:
    """Scores in [0, 1] by the request's `where`, and where they come from: labels first, then scores, then a judge."""
    answered = [request for request in requests if request.answer is not None]
    if wanted.judge:
        return _graded(answered, reference, wanted)
    labelled = [request for request in answered if request.label is not None]
    if labelled:
        metric = reference.metric or "exact_match"
        found = {r.where: metrics.score(metric, r.answer or "", r.label or "", r.question).value for r in labelled}
        return {where: value for where, value in found.items() if value is not None and 0 <= value <= 1}, "labels"
    return {r.where: r.score for r in requests if r.score is not None}, "scores"


def _graded(requests: Sequence[Request], reference: Reference, wanted: Wanted) -> tuple[dict[str, float], str]:
    if reference.judge is None:
        hint = "Name one in the experiment's spec, and give that experiment with --against"
        raise UsageError(Problem("--judge", "no judge is named", "judge: {url: ..., model: ...}", hint))
    asked = [request for request in requests if request.question]
    drawn = np.random.default_rng(len(asked)).permutation(len(asked))[: wanted.judge]
    with evaluate.aided(False, reference.judge, wanted.note):
        graded = {
            asked[i].where: metrics.score("judge", asked[i].answer or "", asked[i].label or "", asked[i].question).value
            for i in sorted(drawn)
        }
    return {where: v for where, v in graded.items() if v is not None}, f"judge {reference.judge.model}"


def _streams(
    before: MonitorRecord | None, measured: Sequence[Feature], wanted: Wanted, number: int
) -> tuple[StreamState, ...]:
    """The bets after this look; a feature that this look does not have stands as it did."""
    if wanted.accept is not None:
        return tuple(drift.restarted(feature) for feature in measured)
    known = {} if before is None else {stream.feature: stream for stream in before.streams}
    for feature in measured:
        held = known.get(feature.name)
        seed = int(digest([wanted.deployment, number, feature.name])[:16], 16)
        known[feature.name] = drift.bet_on(feature, held, seed)
    return tuple(known[name] for name in features.EVERY if name in known)


def _causes(streams: Sequence[StreamState], alarms: Sequence[Watched]) -> tuple[str, ...]:
    """Features of the raised alarms whose bets grew at least tenfold, the strongest first."""
    grown = [s for s in streams if s.watched in alarms and s.log_e_most >= np.log(10)]
    return tuple(stream.feature for stream in sorted(grown, key=lambda stream: -stream.log_e_most))


def _canary(
    requests: Sequence[Request], reference: Reference, scores: dict[str, float], wanted: Wanted
) -> CanaryRecord | None:
    if wanted.canary is None:
        return None
    measures: dict[str, tuple[bool | None, canary.Measure]] = {
        "quality": (True, lambda r: scores.get(r.where)),
        "valid": (True, lambda r: None if r.answer is None else float(reference.form.fits(r.answer))),
        "error": (False, lambda r: float(r.error is not None)),
        "latency_s": (False, lambda r: r.latency_s),
        "answer_length": (None, lambda r: None if r.answer is None else float(len(r.answer))),
    }
    return canary.compare(requests, *wanted.canary, measures)


def _latency(requests: Sequence[Request]) -> dict[str, Interval]:
    seconds = [request.latency_s for request in requests if request.latency_s is not None]
    return {f"p{q}": stats.quantile_interval(seconds, q / 100) for q in PERCENTILES} if seconds else {}


def _share(values: Sequence[bool]) -> Interval:
    return stats.mean_interval([float(value) for value in values])


def _notes(requests: Sequence[Request], read: Read, measured: Sequence[Feature]) -> list[str]:
    found = []
    if requests and not any(request.question for request in requests):
        found.append("the logs hold no questions: nothing is said of what was asked")
    if requests and any(request.time is None for request in requests):
        found.append("not every request has a time: those of the last look are left out by content")
    if read.broken:
        found.append(f"{read.broken} of {read.lines} lines are broken and left out")
    if requests and "topic" not in {feature.name for feature in measured}:
        found.append("topics and novelty need at least 40 training questions")
    return found


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="microseconds")
