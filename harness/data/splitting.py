"""One file into train, dev and test, without tearing apart what belongs together."""

from __future__ import annotations

import random
from collections.abc import Sequence

from harness.data.rows import SPLITS, DataSpec, Row, Split, question
from harness.records import SplitName


def divide(spec: DataSpec, file: str, rows: Sequence[Row]) -> dict[SplitName, Split]:
    """Seeded split of one file; rows with one question or one cluster stay together."""
    families = _families(rows)
    keys = sorted(families)
    random.Random(spec.seed).shuffle(keys)
    bounds = (spec.split[0] * len(rows), (spec.split[0] + spec.split[1]) * len(rows))
    parts: dict[SplitName, list[Row]] = {name: [] for name in SPLITS}
    placed = 0
    for key in keys:
        name = SPLITS[sum(placed >= bound for bound in bounds)]
        parts[name].extend(families[key])
        placed += len(families[key])
    return {name: Split(name, file, tuple(part[: spec.limit.get(name)])) for name, part in parts.items()}


def _families(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows joined, over any number of steps, by a cluster or a question; the key is the least of either."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for row in rows:
        asked = root(("question", question(row.item)))
        if row.item.cluster is not None:
            parent[asked] = root(("cluster", row.item.cluster))
    members: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        members.setdefault(root(("question", question(row.item))), []).append(row)
    families: dict[str, list[Row]] = {}
    for family in members.values():
        key = min(question(row.item) if row.item.cluster is None else row.item.cluster for row in family)
        families.setdefault(key, []).extend(family)
    return families
