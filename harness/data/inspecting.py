"""The whole audit of an experiment's data: what its splits say of each other, and every rule over every split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.data.auditing import audit
from harness.data.example import Example, Turn
from harness.data.files import suite_rows
from harness.data.policy import RULES, AuditSpec
from harness.data.repetition import Held, Hit
from harness.data.rows import CardSpec, Data, Row, Split
from harness.data.scan import SHARED, Shape, found_by, scan_examples
from harness.records import DataRecord, Finding, Item
from harness.suites import Suite

TRAIN_ONLY = ("coverage", "length")
"""Families of rules that say something of training rows only."""


def full_audit(
    data: Data,
    spec: AuditSpec | None = None,
    suites: Sequence[Suite] = (),
    card: CardSpec | None = None,
    model_licence: str = "",
) -> DataRecord:
    """Fingerprints and the findings of every rule, as the policy sees them. Does not raise.

    Train must give away neither dev, test nor any suite; dev must not give away test.
    """
    spec = spec or AuditSpec()
    record = audit(data)
    own = [_by_policy(finding, spec) for finding in record.findings]
    told = {(finding.file, finding.line, finding.rule) for finding in own}
    more = [
        finding
        for split in data.opened
        for finding in _inspect(split, data, spec, suites)
        if (finding.file, finding.line, finding.rule) not in told
    ]
    findings = [finding for finding in (*own, *more) if finding.action != "ignore"]
    findings += _uncarded(data.train.file, spec, card)
    findings.sort(key=lambda f: (f.severity != "error", f.severity == "info", f.file, f.line))
    told_of = {name: text for name, text in card.model_dump().items() if text} if card else {}
    if model_licence:
        told_of["base model's licence"] = model_licence
    return record.model_copy(update={"findings": tuple(findings), "card": told_of})


def _uncarded(file: str, spec: AuditSpec, card: CardSpec | None) -> tuple[Finding, ...]:
    """What an experiment does not say of the origin of its rows."""
    if card is None or (card.source and card.licence):
        return ()
    lacking = " and ".join(name for name in ("source", "licence") if not getattr(card, name))
    message = f"nothing is said of the rows' {lacking}; write data.card: {{source: ..., licence: ...}}"
    return found_by([Hit(0, "no_card", message)], file, spec)


def _by_policy(finding: Finding, spec: AuditSpec) -> Finding:
    """A finding about two splits, with what the policy says of its rule."""
    action = spec.action(finding.rule)
    changed = finding.rule in spec.rules
    return finding.model_copy(
        update={"action": action, "severity": spec.severity(finding.rule) if changed else finding.severity}
    )


def _inspect(split: Split, data: Data, spec: AuditSpec, suites: Sequence[Suite]) -> Iterator[Finding]:
    held, known = _held(split, data, suites)
    shape = Shape("messages", _shared_system(split))
    examples = (example_of(row) for row in split.rows)
    for finding in scan_examples(examples, shape, split.file, spec, held, known):
        family = RULES[finding.rule].family
        twice = finding.rule in ("duplicate_exact", "contradiction")  # told by the audit of the splits, in its words
        if not twice and (split.name == "train" or family not in TRAIN_ONLY):
            yield finding


def _held(split: Split, data: Data, suites: Sequence[Suite]) -> tuple[list[Held], frozenset[str]]:
    """What this split must not give away, and the answers that the other splits know."""
    order = [other.name for other in data.opened]  # what is used later must not be given away
    later = data.opened[order.index(split.name) + 1 :]
    held = [Held(item.id, kept.name, _asked(item), item.target) for kept in later for item in kept.items]
    if split.name == "train":
        held += [row for suite in suites for row in suite_rows(suite)]
    others = (other for other in data.opened if other.name != split.name)
    return held, frozenset(item.target.strip() for other in others for item in other.items)


def example_of(row: Row) -> Example:
    """A row of a split in the normal form."""
    item = row.item
    turns = tuple(Turn(turn.role, turn.content) for turn in item.messages)
    rejected = next((choice for choice in item.choices or () if choice != item.target), None)
    return Example(
        row.line, "messages", turns, item.target, rejected, id=item.id, cluster=item.cluster, slices=item.slices
    )


def _asked(item: Item) -> str:
    return "\n".join(turn.content for turn in item.messages)


def _shared_system(split: Split) -> str:
    """The system message of most rows, where not all carry it: one that all carry was lifted out of them."""
    firsts = Counter(item.messages[0].content for item in split.items if item.messages[0].role == "system")
    text, count = firsts.most_common(1)[0] if firsts else ("", 0)
    return text if count >= SHARED * len(split.rows) else ""
