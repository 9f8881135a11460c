"""Judging: who meets the test split, at what level of error, and the verdict over all of them.

answers   a candidate's answers to a suite, asked once and shared by whoever would be asked the same
court     looks, gates, the verdict
"""

from harness.judgement.answers import Answers, share
from harness.judgement.court import Contender, Court

__all__ = ["Answers", "Contender", "Court", "share"]
