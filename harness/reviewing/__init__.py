"""Blind review by people: which pairs of answers they see, what their votes come to, how far they agree.

    pairs       the answers of two runs that differ, in one shuffled order, each side hidden
    outcome     win rate, counts by reviewer, agreement among people and with the judge, the evidence of a gate
    agreement   Cohen's and Fleiss' kappa with intervals
    judged      what an LLM judge said of pairs of answers, as it is kept in the store

Votes lie in the experiment's folder and are only ever added to. A vote counts for the very texts that were seen.
"""

from harness.reviewing.agreement import cohen, fleiss
from harness.reviewing.judged import JOURNAL, Preferred, as_pairs
from harness.reviewing.outcome import Review, evidence, may_judge_again, review, reviewed
from harness.reviewing.pairs import Blind, blind_pairs, shown_first

__all__ = [
    "JOURNAL",
    "Blind",
    "Preferred",
    "Review",
    "as_pairs",
    "blind_pairs",
    "cohen",
    "evidence",
    "fleiss",
    "may_judge_again",
    "review",
    "reviewed",
    "shown_first",
]
