"""Likely label errors: rows whose text speaks against their label, by models that did not see the row (cleanlab).

Features are cheap: TF-IDF of character n-grams, logistic regression by gradient descent, five folds. What is told are
rows that cleanlab calls issues and whose own label gets next to no probability while another gets most of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from harness.data.lines import shown
from harness.data.personal import masked
from harness.data.repetition import Hit

FOLDS = 5
MOST_ROWS = 20_000
"""Rows that are looked at: the first ones."""

MOST_CHARACTERS = 2000
"""Characters of a text that are looked at."""

LEARNABLE = 0.75
"""Accuracy that the cheap models must reach on rows they did not see; below it they cannot tell who is wrong."""

SURE, DOUBTED = 0.6, 0.1
"""Least probability of the other label, and most of the row's own, for a row to be told."""

INSTALL = "pip install 'finetune-harness[audit]'"


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row of a classification task."""

    line: int
    text: str
    label: str


def installed() -> bool:
    """Whether the libraries are there."""
    return all(find_spec(name) is not None for name in ("cleanlab", "sklearn"))


def suspects(rows: Sequence[Labelled]) -> Iterator[Hit]:
    """Rows that are likely mislabelled, the least plausible first. Needs `installed()`."""
    counts = Counter(row.label for row in rows)
    rows = [row for row in rows[:MOST_ROWS] if counts[row.label] >= FOLDS and row.text]
    names = sorted({row.label for row in rows})
    if len(names) < 2:
        return
    labels = np.array([names.index(row.label) for row in rows])
    probabilities = _held_out(rows, labels)
    if (probabilities.argmax(axis=1) == labels).mean() < LEARNABLE:
        return
    from cleanlab.filter import find_label_issues

    ranked = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    for at in ranked:
        own, best = probabilities[at, labels[at]], int(probabilities[at].argmax())
        if own <= DOUBTED and probabilities[at, best] >= SURE:
            told = f"{shown(masked(names[best]))} ({probabilities[at, best]:.0%})"
            message = (
                f"the text speaks for {told}, the row says {shown(masked(rows[at].label))} ({own:.0%}); look at it"
            )
            yield Hit(rows[at].line, "label_error", message)


def _held_out(rows: Sequence[Labelled], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Class probabilities of every row from a model that was fitted without it; shape (rows, labels)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    grams = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), max_features=100_000)
    features = grams.fit_transform(row.text[:MOST_CHARACTERS] for row in rows)
    model = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, features, labels, cv=folds, method="predict_proba"))
