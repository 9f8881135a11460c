"""What is measured of each request, in production and in the reference, and the bins that bets are made on.

Bins never depend on the values that are bet on: lengths have fixed ones, topics come from training rows that are left
out of the reference. Otherwise the ranks would not be those of exchangeable values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitoring.betting import Side
from harness.monitoring.reference import Form, Reference
from harness.monitoring.requests import Request
from harness.monitoring.texts import Space
from harness.records import Watched

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST: Final = 40
"""Training questions from which topics and novelty are measured."""
LENGTHS: Final = 2.0 ** (np.arange(1, 81) / 4)
SHARES: Final = np.arange(1, 41) / 41

EVERY: Final[dict[str, tuple[Watched, Side]]] = {
    "question_length": ("drift", "both"),
    "topic": ("drift", "both"),
    "novelty": ("drift", "higher"),
    "answer_length": ("drift", "both"),
    "answer_label": ("drift", "both"),
    "error": ("quality", "higher"),
    "valid": ("quality", "lower"),
    "quality_labels": ("quality", "lower"),
    "quality_scores": ("quality", "lower"),
    "quality_judge": ("quality", "lower"),
}
"""Every feature with its alarm, and the side on which it is bet: nobody is warned of fewer errors, or
of questions that are more familiar."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One measure of requests beside its values in the reference."""

    name: str
    reference: Floats
    """(m,); empty where the feature is held against its own past."""
    values: Floats
    """(n,) in the order of the requests; requests without the feature are left out."""
    edges: Floats | None
    """Upper ends of all bins but the last; None for categories, which are their own bins."""
    categories: tuple[str, ...] = ()

    @property
    def watched(self) -> Watched:
        """Which alarm it belongs to."""
        return EVERY[self.name][0]

    @property
    def side(self) -> Side:
        """Where it is bet."""
        return EVERY[self.name][1]

    @property
    def size(self) -> int:
        """Number of bins."""
        return len(self.categories) if self.edges is None else len(self.edges) + 1

    def bins(self, values: Floats) -> Ints:
        """The bin of each value, low to high."""
        return values.astype(np.int64) if self.edges is None else np.searchsorted(self.edges, values, side="right")


@dataclass(frozen=True, slots=True)
class Placed:
    """Topic and novelty, measured for training questions that the space was not fitted on."""

    space: Space
    held_out: tuple[str, ...]


def place(questions: Sequence[str]) -> Placed | None:
    """Fit on one half of the different questions, keep the other as reference; None for too few of them."""
    kept = [question for question in questions if question.strip()]
    if len(kept) < FEWEST:
        return None
    order = np.random.default_rng(0).permutation(len(kept))
    kept = sorted(kept)
    half = len(kept) // 2
    return Placed(Space.fit([kept[i] for i in order[:half]]), tuple(kept[i] for i in order[half:]))


def of_requests(
    requests: Sequence[Request], reference: Reference, placed: Placed | None, judged: Sequence[float] = ()
) -> list[Feature]:
    """Every feature that the requests have. judged: a judge's scores of some answers, in [0, 1]."""
    asked = [request.question for request in requests if request.question]
    answers = [request.answer for request in requests if request.answer is not None]
    held = [question for question in reference.questions if question]
    found = [
        Feature("question_length", _lengths(held), _lengths(asked), LENGTHS),
        Feature("answer_length", _lengths(reference.answers), _lengths(answers), LENGTHS),
        _binary("error", (), [request.error is not None for request in requests]),
        _binary("valid", [*map(reference.form.fits, reference.answers)], [*map(reference.form.fits, answers)]),
        *_labels(reference.form, reference.answers, answers),
        *_topics(placed, asked),
    ]
    scores = [request.score for request in requests if request.score is not None]
    found += [_share("quality_scores", (), scores), _share("quality_judge", (), judged)]
    return [feature for feature in found if len(feature.values)]


def labelled(reference: Reference, scores: Sequence[float]) -> list[Feature]:
    """Scores of the answers to requests with a label, beside those of the judged run."""
    return [_share("quality_labels", reference.scores, scores)] if scores else []


def _topics(placed: Placed | None, asked: Sequence[str]) -> list[Feature]:
    if placed is None:
        return []
    space, held = placed.space, placed.held_out
    before, now = (space.topics(texts).astype(np.float64) for texts in (held, asked))
    return [
        Feature("topic", before, now, None, space.names),
        Feature("novelty", space.novelty(held), space.novelty(asked), SHARES),
    ]


def _labels(form: Form, reference: Sequence[str], answers: Sequence[str]) -> list[Feature]:
    if not form.labels:
        return []
    known = {label.strip().casefold(): at for at, label in enumerate(form.labels)}
    before, now = (
        np.array([known.get(text.strip().casefold(), len(known)) for text in texts], np.float64)
        for texts in (reference, answers)
    )
    return [Feature("answer_label", before, now, None, (*known, "(another answer)"))]


def _lengths(texts: Sequence[str]) -> Floats:
    return np.array([len(text) for text in texts], np.float64)


def _binary(name: str, reference: Sequence[bool], values: Sequence[bool]) -> Feature:
    return Feature(name, np.array(reference, np.float64), np.array(values, np.float64), np.array([0.5]))


def _share(name: str, reference: Sequence[float], values: Sequence[float]) -> Feature:
    return Feature(name, np.array(reference, np.float64), np.array(values, np.float64), SHARES)
