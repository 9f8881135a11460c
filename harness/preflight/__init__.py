"""Preflight: what an experiment will do and what its gates can decide, before any model is touched.

checking   all that `harness check` tells
work       how much there is to ask and to train
designs    what each gate's comparison will be made of: items, clusters, and how many are expected to differ
earlier    what runs in the store say of that
pace       how fast earlier experiments of the model were on such a machine
planning   what it will take: hours and money by stage, and where training would fit
"""

from harness.preflight.checking import LooksAhead, Preflight, check
from harness.preflight.work import Work

__all__ = ["LooksAhead", "Preflight", "Work", "check"]
