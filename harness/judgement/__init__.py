"""Judging: who meets the test split, at what level of error, and the verdict over all of them.

answers   a candidate's answers to a suite, asked once and shared by whoever would be asked the same
court     looks, gates, the verdict
forgotten what the adapters forgot of general text and general answers
asked     a tuned candidate under its own prompt, and under the best one
"""

from harness.judgement.answers import Answers, share
from harness.judgement.asked import same_question, under
from harness.judgement.court import Contender, Court
from harness.judgement.forgotten import measure_forgetting

__all__ = ["Answers", "Contender", "Court", "measure_forgetting", "same_question", "share", "under"]
