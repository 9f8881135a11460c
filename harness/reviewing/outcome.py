"""What votes come to: win rate with its interval, who voted how often, agreement, and the evidence of a gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, get_args

from harness import stats
from harness.compare import HUMAN, LEAST_VOTES, Change, Judgement, Pairs, preferences, win_rate
from harness.records import Interval, VerdictRecord, VoteRecord
from harness.records.voted import Voted
from harness.reviewing.agreement import cohen, fleiss
from harness.reviewing.judged import JOURNAL, Preferred, as_pairs
from harness.reviewing.pairs import Blind, blind_pairs
from harness.store import ExperimentStore, counted

LABELS: Final[tuple[Voted, ...]] = get_args(Voted)
_CHANGES: Final[Mapping[Voted, Change]] = {"won": "won", "lost": "lost", "tied": "tied", "both_bad": "tied"}
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Review:
    """Everything that is told of the votes on two runs."""

    pairs: int
    """Pairs to vote on."""
    voted: int
    """Pairs with a vote at least."""
    rate: Interval
    """The candidate's win rate over voted pairs, ties and `both bad` as half."""
    counts: Mapping[str, int]
    """Votes by outcome, seen from the candidate: won, lost, tied, both_bad."""
    reviewers: Mapping[str, int]
    """Name to number of pairs voted on."""
    agreement: Interval | None
    """Kappa among people: Cohen's of two reviewers, Fleiss' of more; None where none shared a pair."""
    judge: Interval | None
    """Cohen's kappa of the LLM judge with people's majority; None where the judge was not asked."""
    judge_share: Interval | None
    """Share of equal verdicts, likewise."""
    judge_name: str = ""
    """Who judged."""
    judge_rate: Interval | None = None
    """The candidate's win rate over the pairs that the judge decided, ties as half; None where it was not asked."""


def review(folder: ExperimentStore, candidate: str, reference: str) -> Review:
    """The votes on the answers of two runs (their ids) as they stand. Raises as `blind_pairs` does."""
    pairs = blind_pairs(folder, candidate, reference)
    held = _held(folder, pairs, candidate, reference)
    votes = [vote for given in held.values() for vote in given]
    joined = _joined(folder, pairs, held, candidate, reference)
    said = _said(folder, candidate, reference)
    judge, share = _judge(said, held)
    return Review(
        pairs=len(pairs),
        voted=len(held),
        rate=win_rate(joined.interval(0.95)),
        counts={label: sum(vote.outcome == label for vote in votes) for label in LABELS},
        reviewers=dict(sorted(Counter(vote.reviewer for vote in votes).items())),
        agreement=_among(list(held.values())),
        judge=judge,
        judge_share=share,
        judge_name=next((one.judge for one in said.values()), ""),
        judge_rate=_judged_rate(folder, list(said.values()), candidate, reference),
    )


def reviewed(folder: ExperimentStore) -> list[tuple[str, str]]:
    """Candidate and reference, as run ids, of every two runs whose answers people or the judge compared."""
    asked = {(vote.candidate, vote.reference) for vote in folder.votes()}
    asked |= {(one.candidate, one.reference) for one in folder.journal_lines(JOURNAL, Preferred)}
    held = set(folder.run_ids())
    return sorted(pair for pair in asked if {*pair} <= held)


def evidence(folder: ExperimentStore, candidate: str, reference: str) -> Pairs:
    """The votes on two runs as paired evidence: the difference is the net win rate, (won - lost) / n.

    A pair counts once, however many voted on it. `both bad` is a tie. Pairs without a vote are not in it: the order
    of asking is shuffled, so those that have one are a random part.
    """
    pairs = blind_pairs(folder, candidate, reference)
    return _joined(folder, pairs, _held(folder, pairs, candidate, reference), candidate, reference)


def may_judge_again(folder: ExperimentStore, verdict: VerdictRecord) -> bool:
    """Whether a gate of this verdict waited for votes of people that are there by now.

    The first verdict with enough of them is the last one: votes are not looked at until they please.
    """
    waiting = {
        (gate.candidate, gate.against)
        for gate in verdict.gates
        if gate.metric == HUMAN and (gate.comparison is None or gate.comparison.difference.n < LEAST_VOTES)
    }
    runs = {(run.candidate.name, run.suite, run.split): run.id for run in folder.runs()} if waiting else {}
    for one, other in waiting:
        ids = runs.get((one, "task", "test")), runs.get((str(other), "task", "test"))
        if ids[0] is not None and ids[1] is not None and evidence(folder, ids[0], ids[1]).n >= LEAST_VOTES:
            return True
    return False


def _held(
    folder: ExperimentStore, pairs: Sequence[Blind], candidate: str, reference: str
) -> dict[Key, list[VoteRecord]]:
    """The votes that count, by pair: those on the very texts that the runs hold."""
    known = {pair.key: pair.answers for pair in pairs}
    held: dict[Key, list[VoteRecord]] = {}
    for vote in counted(folder.votes()):
        at = vote.task, vote.id, vote.repeat
        if (vote.candidate, vote.reference) == (candidate, reference) and known.get(at) == vote.answers:
            held.setdefault(at, []).append(vote)
    return held


def _joined(
    folder: ExperimentStore, pairs: Sequence[Blind], held: Mapping[Key, Sequence[VoteRecord]],
    candidate: str, reference: str,
) -> Pairs:  # fmt: skip
    judgements, seen = [], Counter[str]()
    for pair in pairs:
        for vote in held.get(pair.key, ()):
            item = f"{pair.task}/{pair.id}"
            change = _CHANGES[vote.outcome]
            judgements.append(Judgement(id=item, repeat=seen[item], outcome=change, cluster=pair.cluster))
            seen[item] += 1
    run = folder.run(candidate)
    suite = run.suite if run else "task"
    made = preferences(judgements, suite=suite, candidate=candidate, reference=reference)
    return replace(made, ground=replace(made.ground, metric=HUMAN))


def _among(votes: Sequence[Sequence[VoteRecord]]) -> Interval | None:
    """Kappa over the pairs that two reviewers at least voted on."""
    shared = [given for given in votes if len(given) > 1]
    if not shared:
        return None
    names = sorted({vote.reviewer for given in shared for vote in given})
    if len(names) == 2:
        said = [{vote.reviewer: vote.outcome for vote in given} for given in shared]
        return cohen([one[names[0]] for one in said], [one[names[1]] for one in said])
    return fleiss([[sum(vote.outcome == label for vote in given) for label in LABELS] for given in shared])


def _said(folder: ExperimentStore, candidate: str, reference: str) -> dict[Key, Preferred]:
    """The judge's last verdict on each pair that it decided."""
    return {
        (one.task, one.id, one.repeat): one
        for one in folder.journal_lines(JOURNAL, Preferred)
        if (one.candidate, one.reference) == (candidate, reference) and one.outcome != "unscored"
    }


def _judged_rate(folder: ExperimentStore, said: Sequence[Preferred], candidate: str, reference: str) -> Interval | None:
    sides = [(folder.run(run), folder.samples(run)) for run in (candidate, reference)] if said else []
    scored = [(run, samples) for run, samples in sides if run is not None]
    return win_rate(as_pairs(said, *scored).interval(0.95)) if len(scored) == 2 else None


def _judge(
    said: Mapping[Key, Preferred], held: Mapping[Key, Sequence[VoteRecord]]
) -> tuple[Interval | None, Interval | None]:
    """The judge against the majority of people: kappa, and the share of equal verdicts."""
    both = [(said[at].outcome, _majority(given)) for at, given in held.items() if at in said]
    if not both:
        return None, None
    share = stats.mean_interval([float(one == other) for one, other in both])
    return cohen([one for one, _ in both], [other for _, other in both]), share


def _majority(votes: Sequence[VoteRecord]) -> Change:
    changes = Counter(_CHANGES[vote.outcome] for vote in votes)
    lead = changes["won"] - changes["lost"]
    return "won" if lead > 0 else "lost" if lead < 0 else "tied"
