"""Judging: who meets the test split, at what level of error, and the verdict over all of them.

answers   a candidate's answers to a suite, asked once and shared by whoever would be asked the same
case      what is known of an experiment, or of a deploy gate
looking   looks at test splits and suites
court     gates, the verdict
forgotten what the adapters forgot of general text and general answers
asked     a tuned candidate under its own prompt, and under the best one
"""

from harness.judgement.answers import Answers, Wanted, asked_as, share
from harness.judgement.asked import same_question, under
from harness.judgement.case import Case
from harness.judgement.court import Court
from harness.judgement.forgotten import measure_forgetting
from harness.judgement.looking import Contender

__all__ = [
    "Answers",
    "Case",
    "Contender",
    "Court",
    "Wanted",
    "asked_as",
    "measure_forgetting",
    "same_question",
    "share",
    "under",
]
