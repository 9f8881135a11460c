"""One file into train, dev and test: every label in each, and no family of rows torn apart."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from harness.data.near import BATCH, Neighbours, signatures
from harness.data.rows import SPLITS, DataSpec, Row, Split, question
from harness.data.wording import another_problem, bare
from harness.records import SplitName


def divide(spec: DataSpec, file: str, rows: Sequence[Row]) -> dict[SplitName, Split]:
    """Seeded split of one file, stratified by label.

    Rows with one question, with near copies of it or with one cluster stay together, over any number of steps.
    """
    families = _families(rows, spec.audit.near)
    bounds = (spec.split[0] * len(rows), (spec.split[0] + spec.split[1]) * len(rows))
    parts: dict[SplitName, list[Row]] = {name: [] for name in SPLITS}
    placed = 0
    for family in _stratified(families, spec.seed):
        name = SPLITS[sum(placed >= bound for bound in bounds)]
        parts[name].extend(family)
        placed += len(family)
    return {name: Split(name, file, tuple(part[: spec.limit.get(name)])) for name, part in parts.items()}


def _stratified(families: dict[str, list[Row]], seed: int) -> list[list[Row]]:
    """Families in an order in which every stretch has the labels in the file's proportions.

    Within a label the order is shuffled; then the labels are dealt out evenly, each from a place of its own.
    """
    rng = random.Random(seed)
    by_label: dict[str, list[str]] = defaultdict(list)
    for key in sorted(families):
        by_label[_label(families[key])].append(key)
    places: list[tuple[float, str]] = []
    for label in sorted(by_label):
        keys = by_label[label]
        rng.shuffle(keys)
        start = rng.random()
        places += [((at + start) / len(keys), key) for at, key in enumerate(keys)]
    return [families[key] for _, key in sorted(places)]


def _label(family: Sequence[Row]) -> str:
    """The answer of most rows of a family."""
    counts = Counter(row.item.target.strip() for row in family)
    return min(counts, key=lambda label: (-counts[label], label))


def _families(rows: Sequence[Row], near: float) -> dict[str, list[Row]]:
    """Rows joined, over any number of steps, by a cluster, a question or near copies; the key is the least of them."""
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
    for one, other in _near_copies(rows, near):
        parent[root(("question", question(one.item)))] = root(("question", question(other.item)))
    members: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        members.setdefault(root(("question", question(row.item))), []).append(row)
    families: dict[str, list[Row]] = {}
    for family in members.values():
        key = min(question(row.item) if row.item.cluster is None else row.item.cluster for row in family)
        families.setdefault(key, []).extend(family)
    return families


def _near_copies(rows: Sequence[Row], threshold: float) -> Iterator[tuple[Row, Row]]:
    """Pairs of rows whose questions are near copies, problems of one template apart."""
    texts = [bare(question(row.item)) for row in rows]
    neighbours = Neighbours(threshold)
    for at in range(0, len(texts), BATCH):
        neighbours.add(signatures(texts[at : at + BATCH]), texts[at : at + BATCH])
    for earlier, later, _ in neighbours.pairs():
        same_answer = rows[earlier].item.target == rows[later].item.target
        if not another_problem(texts[earlier], texts[later], same_answer):
            yield rows[earlier], rows[later]
    neighbours.close()
