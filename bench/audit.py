"""Score the data audit against dirty files whose answer keys are known: recall and precision, rule by rule.

    python bench/audit.py [../shared/data] [--markdown]

A key names the defects of every physical line. A defect is found when its line carries one of the rules that stand
for it; of a pair either line may carry it. A finding is right when its line, or its partner line, has a defect that
it stands for; it is wrong when the line is clean or a decoy. Findings on lines with another defect count as neither.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data import audit_file
from harness.records import Finding

EXPECTED: dict[str, tuple[str, ...]] = {
    "invalid_json": ("invalid_json",),
    "plain_text_line": ("invalid_json",),
    "split_json_line": ("invalid_json",),
    "not_an_object": ("not_an_object",),
    "non_utf8_bytes": ("non_utf8",),
    "duplicate_key": ("duplicate_key",),
    "missing_messages": ("unknown_format", "missing_field"),
    "pref_missing_field": ("missing_field",),
    "non_string_content": ("wrong_type",),
    "pref_non_string": ("wrong_type",),
    "null_content": ("null_content",),
    "wrong_role": ("unknown_role",),
    "bad_role_order": ("bad_role_order", "missing_answer"),
    "missing_final_assistant": ("missing_answer",),
    "empty_answer": ("empty_answer",),
    "whitespace_answer": ("empty_answer",),
    "pref_empty_chosen": ("empty_answer",),
    "pref_empty_rejected": ("empty_answer",),
    "special_token_leak": ("template_token",),
    "mojibake": ("mojibake",),
    "null_byte": ("control_character",),
    "mixed_whitespace": ("whitespace", "invisible_character"),
    "schema_variant_alpaca": ("mixed_format",),
    "schema_variant_sharegpt": ("mixed_format",),
    "exact_duplicate": ("duplicate_exact",),
    "near_duplicate": ("duplicate_near", "duplicate_exact"),
    "contradictory_label": ("contradiction", "near_contradiction"),
    "pref_contradictory": ("preference_contradiction",),
    "test_leak_exact": ("leak_exact",),
    "test_leak_near": ("leak_near", "leak_exact", "leak_ngram"),
    "label_not_in_set": ("label_not_in_set", "rare_label"),
    "bad_json_answer": ("bad_json_answer",),
    "fenced_json_answer": ("fenced_json_answer",),
    "copied_prompt_answer": ("copied_prompt",),
    "refusal_answer": ("refusal",),
    "truncated_answer": ("truncated_answer",),
    "over_long": ("over_long",),
    "pref_identical": ("preference_identical",),
    "pref_swapped_scores": ("preference_swapped",),
    "pref_prompt_in_response": ("preference_prompt_in_answer",),
    "pref_length_outlier": ("preference_length", "over_long"),
    "pii_credit_card": ("pii_card",),
    "pii_iban": ("pii_iban",),
    "pii_national_id": ("pii_national_id",),
    "pii_email": ("pii_email",),
    "pii_phone": ("pii_phone",),
    "pii_ip": ("pii_ip",),
    "pii_name_address": ("pii_address",),
    "different_system": ("mixed_system",),
    "missing_system": ("mixed_system",),
}
"""Which rules stand for a defect of the keys."""

ACCEPTED = ("blank_line", "crlf_line_ending", "utf8_bom", "unicode_line_separator", "contradicted_original")
"""What a key names though nothing is wrong with the row."""

NEAR = ("near_duplicate", "test_leak_near")
NEVER_IN_CLEAR = ("pii_credit_card", "pii_iban", "pii_national_id", "pii_email", "pii_phone", "pii_ip")


@dataclass
class Score:
    """Counts over all files."""

    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    clean: int = 0
    clean_flagged: int = 0
    decoys: int = 0
    decoys_flagged: int = 0
    shown_in_clear: int = 0


def score(folder: Path) -> Score:
    """Audit every dirty file below `folder` against its test file and its key."""
    total = Score()
    for path in sorted(folder.glob("dirty/*.key.json")):
        key = json.loads(path.read_text(encoding="utf-8"))
        test = folder.parent / key["test_file"] if (folder.parent / key["test_file"]).exists() else None
        test = test or folder / Path(key["test_file"]).relative_to("shared")
        found = audit_file(str(path.with_name(key["file"])), held={"test": [str(test)]})
        _add(total, key, found.findings)
    return total


def _add(total: Score, key: dict[str, Any], findings: Iterable[Finding]) -> None:
    defects = {int(line): entry["defects"] for line, entry in key["lines"].items()}
    expected = {line: {rule for d in given for rule in EXPECTED.get(d["type"], ())} for line, given in defects.items()}
    by_line: dict[int, set[str]] = defaultdict(set)
    findings = [finding for finding in findings if finding.line]
    for finding in findings:
        by_line[finding.line].add(finding.rule)
        if finding.partner_line:
            by_line[finding.partner_line].add(finding.rule)
    for line, given in defects.items():
        for defect in given:
            total.shown_in_clear += _shown(defect, findings)
            if defect["type"].startswith("decoy"):
                total.decoys += 1
                total.decoys_flagged += any(f.line == line and f.rule.startswith("pii") for f in findings)
            elif defect["type"] not in ACCEPTED:
                total.planted[defect["type"]] += 1
                total.found[defect["type"]] += bool(by_line[line] & set(EXPECTED[defect["type"]]))
    clean = {int(line) for line in key["clean_lines"]}
    wrong_lines = set()
    for finding in findings:
        lines = {finding.line, finding.partner_line}
        if any(finding.rule in expected.get(line or 0, ()) for line in lines):
            total.right[finding.rule] += 1
        elif finding.line in clean or all(
            d["type"].startswith("decoy") for d in defects.get(finding.line, [{"type": ""}])
        ):
            total.wrong[finding.rule] += 1
            wrong_lines.add(finding.line)
    total.clean += len(clean)
    total.clean_flagged += len(wrong_lines & clean)


def _shown(defect: dict[str, Any], findings: Iterable[Finding]) -> bool:
    return defect["type"] in NEVER_IN_CLEAR and any(defect["value"] in finding.message for finding in findings)


def table(total: Score) -> list[tuple[str, str, str, str]]:
    """(defect, rules, recall, precision of those rules), then the totals."""
    rows = []
    for kind, rules in EXPECTED.items():
        if total.planted[kind]:
            right, wrong = (sum(counts[rule] for rule in rules) for counts in (total.right, total.wrong))
            precision = f"{right}/{right + wrong}" if right + wrong else "-"
            rows.append((kind, ", ".join(rules), f"{total.found[kind]}/{total.planted[kind]}", precision))
    near = [sum(counts[kind] for kind in NEAR) for counts in (total.found, total.planted)]
    rest = [sum(counts.values()) - part for counts, part in zip((total.found, total.planted), near, strict=True)]
    right, wrong = sum(total.right.values()), sum(total.wrong.values())
    rows.append(("all near copies", "", f"{near[0]}/{near[1]}", ""))
    rows.append(("all others", "", f"{rest[0]}/{rest[1]}", f"{right}/{right + wrong} = {right / (right + wrong):.3f}"))
    rows.append(("clean lines flagged", "", f"{total.clean_flagged}/{total.clean}", ""))
    rows.append(("decoys flagged", "", f"{total.decoys_flagged}/{total.decoys}", ""))
    rows.append(("personal values shown", "", str(total.shown_in_clear), ""))
    return rows


def main(arguments: list[str]) -> None:
    """Print the table."""
    folders = [a for a in arguments if not a.startswith("--")]
    rows = table(score(Path(folders[0] if folders else "../shared/data")))
    heads = ("defect", "rules", "recall", "precision")
    if "--markdown" in arguments:
        print("\n".join("| " + " | ".join(row) + " |" for row in (heads, ("---",) * 4, *rows)))
        return
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(4)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main(sys.argv[1:])
