"""Comparison: two runs joined sample by sample, or refused because they were made under unlike conditions.

joining   the difference and its interval
likeness  whether two runs may be compared
flips     samples that went from right to wrong or back
"""

from harness.compare.flips import Flip, flips
from harness.compare.joining import ALL, PRIMARY, compare, compare_seeds

__all__ = ["ALL", "PRIMARY", "Flip", "compare", "compare_seeds", "flips"]
