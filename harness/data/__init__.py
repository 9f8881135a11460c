"""The task's data: reading splits into items, their fingerprints, and the audit that guards the verdict.

rows       what data is once it is read
parsing    one line to one item
reading    files to splits: the shared instruction, clusters of repeated questions, ids
splitting  one file into three splits
auditing   what would make the verdict a lie
"""

from harness.data.auditing import audit, refuse_errors
from harness.data.reading import load, load_items
from harness.data.rows import SPLITS, Data, DataSpec, Row, SealedSplit, Split

__all__ = ["SPLITS", "Data", "DataSpec", "Row", "SealedSplit", "Split", "audit", "load", "load_items", "refuse_errors"]
