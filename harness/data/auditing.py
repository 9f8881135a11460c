"""The audit of the task's data: errors would make the verdict a lie, warnings make it weaker."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

from harness.data.rows import Data, Row, Split, question
from harness.errors import DataError, Problem
from harness.records import DataRecord, Finding, SplitRecord


def audit(data: Data) -> DataRecord:
    """Fingerprints and findings. Does not raise: the caller decides what an error finding means."""
    findings = [*_leaks(data), *_repetitions(data), *_contradictions(data)]
    findings.sort(key=lambda f: (f.severity != "error", f.file, f.line))
    majority, score = _majority(data)
    return DataRecord(
        format=data.format,
        splits={s.name: SplitRecord(file=s.file, rows=len(s.rows), fingerprint=s.fingerprint) for s in data.opened},
        findings=tuple(findings),
        majority_answer=majority,
        majority_score=score,
    )


TOLD, LISTED = 3, 10
"""Findings of a rule that an error tells in full, and further ones whose lines it names."""


def refusals(record: DataRecord) -> list[Problem]:
    """What the audit found that would make the verdict a lie, or that the policy calls an error."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in record.findings:
        if "error" in (finding.severity, finding.action):
            groups.setdefault((finding.file, finding.rule), []).append(finding)
    return [problem for (_, rule), found in groups.items() for problem in _told(rule, found)]


def _told(rule: str, found: list[Finding]) -> list[Problem]:
    """The first findings of one rule in full, the others by their lines."""
    told = [Problem(f"{f.file}:{f.line}" if f.line else f.file, f.message) for f in found[:TOLD]]
    more = found[TOLD:]
    if more:
        lines = ", ".join(str(f.line) for f in more[:LISTED]) + (", ..." if len(more) > LISTED else "")
        told.append(Problem(found[0].file, f"{len(more)} more rows of the rule {rule}, lines {lines}"))
    override = f"if they are meant to be there, data.audit.rules: {{{rule}: warn}} lets them pass"
    lists = "`harness data audit` lists them all; "
    if rule == "leak_documents":  # the audit of one file knows no documents
        lists, override = "", f"{override}, and `harness check` lists them all"
    told[-1] = dataclasses.replace(told[-1], next=f"{lists}{override}")
    return told


def refuse_errors(record: DataRecord) -> None:
    """Raise DataError when the audit found what must not be trained or judged on."""
    problems = refusals(record)
    if problems:
        raise DataError(problems)


def _leaks(data: Data) -> Iterator[Finding]:
    """What two splits share: the verdict would rest on memory. What is used later is kept."""
    order = (data.test.sealed, data.dev, data.train)
    for position, kept in enumerate(order):
        for other in order[position + 1 :]:
            yield from _question_leaks(kept, other)
            yield from _cluster_leaks(kept, other)
            yield from _turn_leaks(kept, other)


def _question_leaks(kept: Split, other: Split) -> Iterator[Finding]:
    known = {question(row.item): row for row in reversed(kept.rows)}
    for row in other.rows:
        twin = known.get(question(row.item))
        if twin is not None:
            message = f"the same question stands in {_place(kept, twin)}; remove it from {other.name}"
            yield Finding(rule="leak_exact", severity="error", file=other.file, line=row.line, message=message)


def _cluster_leaks(kept: Split, other: Split) -> Iterator[Finding]:
    """One finding a cluster, where it is not the very question that stands in both."""
    known = {row.item.cluster: row for row in reversed(kept.rows) if row.item.cluster is not None}
    asked = {question(row.item) for row in kept.rows}
    told: set[str] = set()
    for row in other.rows:
        cluster = row.item.cluster
        if cluster is None or cluster not in known or cluster in told or question(row.item) in asked:
            continue
        told.add(cluster)
        message = (
            f"the cluster {cluster!r} stands in {_place(kept, known[cluster])} too; "
            "keep a cluster in one split, or give rows that are independent clusters of their own"
        )
        yield Finding(rule="leak_cluster", severity="error", file=other.file, line=row.line, message=message)


def _turn_leaks(kept: Split, other: Split) -> Iterator[Finding]:
    """One finding a pair of splits: the same turns under another system text may or may not be a leak."""
    known = {question(row.item, system=False): row for row in reversed(kept.rows)}
    asked = {question(row.item) for row in kept.rows}
    found = [
        (row, twin)
        for row in other.rows
        if question(row.item) not in asked and (twin := known.get(question(row.item, system=False))) is not None
    ]
    if found:
        row, twin = found[0]
        message = (
            f"{len(found)} rows of {other.name} ask what {kept.name} asks under another system text, the first as in "
            f"{_place(kept, twin)}; if the system text is an instruction and no part of the question, remove them"
        )
        yield Finding(rule="leak_turns", severity="warning", file=other.file, line=row.line, message=message)


def _repetitions(data: Data) -> Iterator[Finding]:
    for split in data.opened:
        advice = (
            "remove it unless it is meant to weigh twice"
            if split is data.train
            else "both count as one piece of evidence; remove one"
        )
        first: dict[tuple[str, str], Row] = {}
        for row in split.rows:
            twin = first.setdefault((question(row.item), row.item.target.strip()), row)
            if twin is not row:
                message = f"repeats question and answer of line {twin.line}: {advice}"
                yield Finding(
                    rule="duplicate_exact", severity="warning", file=split.file, line=row.line, message=message
                )


def _contradictions(data: Data) -> Iterator[Finding]:
    for split in data.opened:
        told = "nothing can be learned from both" if split is data.train else "no answer can be right for both"
        answers: dict[str, Row] = {}
        for row in split.rows:
            if row.item.choices is not None:  # one question may have many pairs of answers
                continue
            twin = answers.setdefault(question(row.item), row)
            if twin.item.target.strip() != row.item.target.strip():
                message = f"the same question has another answer on line {twin.line}: {told}; keep the right one"
                yield Finding(rule="contradiction", severity="warning", file=split.file, line=row.line, message=message)


def _place(split: Split, row: Row) -> str:
    return f"{split.name} ({split.file}:{row.line}, id {row.item.id})"


def _majority(data: Data) -> tuple[str | None, float | None]:
    """The most frequent train answer and its share of test, where answers form a closed set."""
    counts = Counter(item.target.strip() for item in data.train.items)
    pairs = any(item.choices is not None for item in data.train.items)
    if pairs or len(counts) > max(20, len(data.train.rows) // 5):
        return None, None
    answer = counts.most_common(1)[0][0]
    test = data.test.sealed.items
    return answer, sum(item.target.strip() == answer for item in test) / len(test)
