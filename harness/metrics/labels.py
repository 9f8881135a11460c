"""Metrics of an answer that is a set of labels, as text with separators or as a JSON list."""

from __future__ import annotations

import json

from harness.metrics.registry import metric


def label_set(text: str, separator: str = ",") -> frozenset[str]:
    """The labels of a text: a JSON list of strings, or parts between separators; case and order do not count."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    parts = found if isinstance(found, list) and all(isinstance(one, str) for one in found) else text.split(separator)
    return frozenset(part.strip().casefold() for part in parts if part.strip())


@metric("multilabel_f1", binary=False, example="billing, refund")
def multilabel_f1(answer: str, target: str, *, separator: str = ",") -> float:
    """F1 of the answer's set of labels against the gold set (the sample-averaged F1 of multi-label tasks)."""
    if not separator:
        raise ValueError("the separator is empty")
    got, wanted = label_set(answer, separator), label_set(target, separator)
    return 2 * len(got & wanted) / (len(got) + len(wanted)) if got or wanted else 1.0


@metric("multilabel_match", binary=True, example="billing, refund")
def multilabel_match(answer: str, target: str, *, separator: str = ",") -> float:
    """1 when the answer's set of labels is the gold set."""
    if not separator:
        raise ValueError("the separator is empty")
    return float(label_set(answer, separator) == label_set(target, separator))
