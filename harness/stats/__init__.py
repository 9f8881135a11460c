"""Statistics: honest intervals for one run and for two runs on the same items. Pure functions on arrays.

    scores                        one run           two runs, paired
    0/1, no clusters              Wilson            Tango's score interval
    anything else                 t joined with BCa bootstrap, on clusters where there are any, with a
                                  variance floor so that identical scores never give a zero width

Every input is finite: who has unscored items takes them out first and counts them.

    intervals   which method for which scores          score   0/1 pairs without clusters
    power       what n items can decide                robust  everything else
    sequences   deciding early, at any time
"""

from harness.stats.intervals import mean_interval, paired_interval
from harness.stats.power import POWER, detectable_difference, items_needed, pass_probability
from harness.stats.score import mcnemar_exact_p, normal_quantile, tango_interval, tango_z
from harness.stats.sequences import PairedSequence

__all__ = [
    "POWER",
    "PairedSequence",
    "detectable_difference",
    "items_needed",
    "mcnemar_exact_p",
    "mean_interval",
    "normal_quantile",
    "paired_interval",
    "pass_probability",
    "tango_interval",
    "tango_z",
]
