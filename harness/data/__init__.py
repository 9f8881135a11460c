"""The task's data: reading splits into items, their fingerprints, and the audit that guards the verdict.

Splits of an experiment:

    rows       what data is once it is read
    parsing    one line to one item
    reading    files to splits: the shared instruction, clusters of repeated questions, ids
    splitting  one file into three splits
    auditing   what would make the verdict a lie
    inspecting that, and every rule of the file audit over every split
    closer     label errors and token lengths, for `harness check`

Any data file, as `harness data` sees it:

    lines, tables        physical lines, CSV, Parquet, JSON arrays, datasets -> raw rows
    formats, normal      raw rows -> the normal form (example), or what is wrong with them
    textual, answering, personal (identity, credentials)   rules that see one row
    repetition (wording, near, overlap)                    rules that compare rows
    labels, suspects, endings, whole, length               rules that see the whole file
    policy               the table of rules, and what is done about each
    scan, files          the audit of one file
    cleaning, versions   the repaired file; what changed between two
"""

from harness.data.auditing import audit, refusals, refuse_errors
from harness.data.cleaning import CleanReport, clean_file
from harness.data.closer import CloserLook, closer_look
from harness.data.files import FileAudit, audit_file
from harness.data.inspecting import full_audit
from harness.data.policy import RULES as DATA_RULES
from harness.data.policy import AuditSpec
from harness.data.reading import load, load_items, load_preferences
from harness.data.rows import SPLITS, CardSpec, Data, DataSpec, Row, SealedSplit, Split, question
from harness.data.versions import Diff, RowChange, diff_files

__all__ = [
    "DATA_RULES",
    "SPLITS",
    "AuditSpec",
    "CardSpec",
    "CleanReport",
    "CloserLook",
    "Data",
    "DataSpec",
    "Diff",
    "FileAudit",
    "Row",
    "RowChange",
    "SealedSplit",
    "Split",
    "audit",
    "audit_file",
    "clean_file",
    "closer_look",
    "diff_files",
    "full_audit",
    "load",
    "load_items",
    "load_preferences",
    "question",
    "refusals",
    "refuse_errors",
]
