"""How an experiment's records are read for people: who took part, how sure we are, what broke.

Both views, the leaderboard and the reports, tell the same facts from here. Nothing
is computed that a record does not hold: records are joined, ordered and worded.
"""

from harness.evidence.facts import Fact, facts_of, prompt_text
from harness.evidence.gathered import (
    BAR,
    RAW,
    Contestant,
    Evidence,
    Flip,
    Joined,
    comparison,
    contestants,
    gather,
    join,
    judged,
    suite_score,
    who,
)
from harness.evidence.wording import (
    DECISIONS,
    Answers,
    answers,
    bar_difference,
    basis,
    gate_name,
    headline,
    number,
    signed,
    span,
)

__all__ = [
    "BAR",
    "DECISIONS",
    "RAW",
    "Answers",
    "Contestant",
    "Evidence",
    "Fact",
    "Flip",
    "Joined",
    "answers",
    "bar_difference",
    "basis",
    "comparison",
    "contestants",
    "facts_of",
    "gate_name",
    "gather",
    "headline",
    "join",
    "judged",
    "number",
    "prompt_text",
    "signed",
    "span",
    "suite_score",
    "who",
]
