"""Corpus metrics of labels: F1 averaged in three ways, for one label an answer and for several, and MCC.

A label is the text without surrounding whitespace. Only gold labels are classes: an answer that is none of
them is a miss of its item's label and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.metrics.corpus import Floats, corpus_metric, correlation_of_counts, f1_of_counts
from harness.metrics.labels import label_set


class _Counts:
    """Rightly answered, answered and gold, one count a label each."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._column = {label: i for i, label in enumerate(sorted({one for t in targets for one in self.labels(t)}))}

    def labels(self, text: str) -> frozenset[str]:
        """The labels of an answer or a target: one."""
        return frozenset((text.strip(),))

    def row(self, answer: str, target: str) -> Floats:
        """Rightly answered, answered and gold: one count a label each, (3 * labels,)."""
        counts = np.zeros((3, len(self._column)))
        gold, got = self.labels(target), self.labels(answer)
        for kind, labels in enumerate((gold & got, got, gold)):
            for label in labels & self._column.keys():
                counts[kind, self._column[label]] = 1
        return counts.reshape(-1)

    def _split(self, sums: Floats) -> tuple[Floats, Floats, Floats]:
        right, answered, gold = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
        return right, answered, gold


@corpus_metric("macro_f1", limits=(0.0, 1.0))
class MacroF1(_Counts):
    """Mean over the gold labels of each one's F1; a label is the text without surrounding whitespace.

    A label without any gold item among those summed (a resample may draw none) does not enter the mean. Equal to
    scikit-learn's `f1_score(average="macro", labels=<gold labels>, zero_division=0)`.
    """

    def value(self, sums: Floats) -> Floats:
        """The plain mean over labels that have gold items."""
        right, answered, gold = self._split(sums)
        present = gold > 0
        f1 = np.where(present, f1_of_counts(right, answered, gold), 0.0)
        return np.asarray(f1.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


@corpus_metric("weighted_f1", limits=(0.0, 1.0))
class WeightedF1(_Counts):
    """Mean over the gold labels of each one's F1, weighted by its gold items (scikit-learn's `weighted`)."""

    def value(self, sums: Floats) -> Floats:
        """The mean weighted by gold counts."""
        right, answered, gold = self._split(sums)
        return np.asarray((f1_of_counts(right, answered, gold) * gold).sum(axis=-1) / np.maximum(gold.sum(axis=-1), 1))


@corpus_metric("micro_f1", limits=(0.0, 1.0))
class MicroF1(_Counts):
    """F1 of all labels counted together; answers that are no gold label cost recall alone (scikit-learn's `micro`)."""

    def value(self, sums: Floats) -> Floats:
        """F1 of the summed counts."""
        right, answered, gold = (part.sum(axis=-1) for part in self._split(sums))
        return f1_of_counts(right, answered, gold)


class _Several(_Counts):
    def labels(self, text: str) -> frozenset[str]:
        """The labels of an answer or a target: parts between commas, or a JSON list."""
        return label_set(text)


@corpus_metric("multilabel_macro_f1", limits=(0.0, 1.0))
class MultilabelMacroF1(_Several, MacroF1):
    """macro_f1 of answers that are several labels: separated by commas, or a JSON list; case does not count."""


@corpus_metric("multilabel_micro_f1", limits=(0.0, 1.0))
class MultilabelMicroF1(_Several, MicroF1):
    """micro_f1 of answers that are several labels: separated by commas, or a JSON list; case does not count."""


@corpus_metric("mcc", limits=(-1.0, 1.0))
class Mcc(_Counts):
    """Matthews' correlation coefficient over the gold labels (Gorodkin 2004); 0 where it is not defined.

    Answers that are no gold label count as one more class. Otherwise equal to scikit-learn's `matthews_corrcoef`.
    """

    def value(self, sums: Floats) -> Floats:
        """See `correlation_of_counts`; answers that are no gold label are one more class."""
        return correlation_of_counts(*self._split(sums))
