"""Statistics: honest intervals for one run and for two runs on the same items. Pure functions on arrays.

    scores                        one run           two runs, paired
    0/1, no clusters              Wilson            Tango's score interval, also for judgements with ties
    a mean of anything else       t joined with BCa bootstrap, on clusters where there are any, with a
                                  variance floor so that identical scores never give a zero width;
                                  so for 0/1 scores with clusters or a relative margin
    a metric that is no mean      the same on jackknife pseudo-values, with BCa of the metric itself
    a quantile                    order statistics  MOVER of the two
    several training seeds                          the paired interval, joined with t over seeds

Every input is finite: who has unscored items takes them out first and counts them.

    intervals   which method for which scores          score   0/1 pairs without clusters
    ratio       metrics that are no mean               robust  every other mean
    quantiles   quantiles                              bootstrap  BCa, by scipy
    recipe      over training seeds and items
    power       what n items can decide
    design      of what they are made                  simulated  the chance to pass, for the latter
    sequences   deciding early, at any time            staked     the chance to pass so
"""

from harness.stats.design import Design, observed
from harness.stats.intervals import mean_interval, paired_interval
from harness.stats.power import POWER, detectable_difference, items_needed, pass_probability
from harness.stats.quantiles import paired_quantile_interval, quantile_interval
from harness.stats.ratio import paired_statistic_interval, statistic_interval
from harness.stats.recipe import recipe_interval
from harness.stats.score import mcnemar_exact_p, normal_quantile, tango_interval, tango_z
from harness.stats.seeded import recipe_pass_probability
from harness.stats.sequences import PairedSequence

__all__ = [
    "POWER",
    "Design",
    "PairedSequence",
    "detectable_difference",
    "items_needed",
    "mcnemar_exact_p",
    "mean_interval",
    "normal_quantile",
    "observed",
    "paired_interval",
    "paired_quantile_interval",
    "paired_statistic_interval",
    "pass_probability",
    "quantile_interval",
    "recipe_interval",
    "recipe_pass_probability",
    "statistic_interval",
    "tango_interval",
    "tango_z",
]
