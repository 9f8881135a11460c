"""What people and an LLM judge preferred, for the report: win rates, and how far they agree."""

from __future__ import annotations

from harness import evidence as ev
from harness import reviewing
from harness.errors import HarnessError
from harness.store import ExperimentStore


def people(experiment: ExperimentStore) -> list[tuple[str, list[tuple[str, str]]]]:
    """For every two runs that were compared by hand or by the judge: which, and what came of it, in words."""
    return [(f"{one} against {other}", _told(experiment, one, other)) for one, other in reviewing.reviewed(experiment)]


def _told(experiment: ExperimentStore, candidate: str, reference: str) -> list[tuple[str, str]]:
    try:
        review = reviewing.review(experiment, candidate, reference)
    except HarnessError as fault:
        return [("cannot be read", str(fault))]
    told: list[tuple[str, str]] = []
    if review.voted:
        votes = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in review.counts.items())
        told += [
            ("win rate by blind votes of people", f"{ev.span(review.rate)} ({ev.basis(review.rate)})"),
            ("votes", f"{votes}; on {review.voted} of {review.pairs} pairs"),
            ("reviewers", ", ".join(f"{name} {count}" for name, count in review.reviewers.items())),
        ]
    for what, found in (
        ("agreement of reviewers, kappa", review.agreement),
        (f"win rate by the judge {review.judge_name}", review.judge_rate),
        ("agreement of the judge with people, kappa", review.judge),
        ("equal verdicts of the judge and people", review.judge_share),
    ):
        if found is not None:
            told.append((what, f"{ev.span(found)} ({ev.basis(found)})"))
    return told
