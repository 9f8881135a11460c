"""Comparison: two runs joined sample by sample, or refused because they were made under unlike conditions.

joining      the join of two runs, and one run alone       likeness    whether two runs may be compared
pairs        the joined arrays and every number of them    asked       runs that were stopped early
selecting    which samples, slices and metrics             flips       samples that were won or lost
yardsticks   what the name of a metric stands for          preferences win rates from pairwise judgements
measures     latency, tokens, cost                         estimators  mean, quantile, corpus metric
"""

from harness.compare.flips import Change, Flip, change, flips
from harness.compare.joining import alone, compare, join
from harness.compare.measures import MEASURES, Measure, Prices
from harness.compare.pairs import Pairs, Single, Unscored
from harness.compare.preferences import HUMAN, LEAST_VOTES, Judgement, preferences, win_rate
from harness.compare.samples import Samples, Scored
from harness.compare.selecting import ALL, PRIMARY, slice_values
from harness.compare.yardsticks import higher_is_better

__all__ = [
    "ALL",
    "HUMAN",
    "LEAST_VOTES",
    "MEASURES",
    "PRIMARY",
    "Change",
    "Flip",
    "Judgement",
    "Measure",
    "Pairs",
    "Prices",
    "Samples",
    "Scored",
    "Single",
    "Unscored",
    "alone",
    "change",
    "compare",
    "flips",
    "higher_is_better",
    "join",
    "preferences",
    "slice_values",
    "win_rate",
]
